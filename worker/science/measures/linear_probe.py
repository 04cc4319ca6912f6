"""Linear probe: how well ridge regression on frozen features predicts the labels of unseen images."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.linalg import solve
from torch import Tensor

from worker.science.evidence.parts import Evidence, Part, gathered
from worker.science.measures.folds import FOLDS, held_out_skill
from worker.science.measures.registry import EVERY_KIND, Score, register
from worker.science.measures.samples import Array, describe, flags_of

PENALTY = 0.01  # ridge penalty a unit of sample weight, on features of unit variance


@register(
    title="Linear probe",
    source=f"balanced accuracy (regression: R2, multilabel: AUC) of ridge regression, "
    f"{FOLDS} folds by image or patient",
    labels=EVERY_KIND,
    needs={Part.FEATURES},
    trust=0.44,  # arXiv 2412.20172, its nearest-neighbour probe
)
def linear_probe(evidence: Evidence) -> Score:
    """`held_out_skill` of ridge regression; for classes they are balanced and the largest output is taken."""
    features = gathered(evidence.features, Part.FEATURES)
    value = probe_skill(features.values, features.labels, features.groups)
    record = describe(features) | {"penalty": PENALTY, "folds": FOLDS}
    return Score(value, flags_of(features), record)


def probe_skill(features: Tensor, targets: Tensor, groups: Tensor) -> float:
    """`held_out_skill` of a ridge regression.

    Each fold standardises by its own training rows. Ridge and not logistic regression: it is closed, so it is
    the same on every machine and in any order of rows, and takes one Gram matrix a fold.
    """
    classes, values = partial(_predict, balanced=True), partial(_predict, balanced=False)
    return held_out_skill(features, targets, groups, classes=classes, values=values)


def _predict(train: Array, targets: Array, test: Array, *, balanced: bool) -> Array:
    """Weighted ridge regression with an intercept: (N, D), (N, C), (M, D) -> (M, C)."""
    weight = _balance(targets) if balanced else np.full(len(train), 1 / len(train))  # (N,), sums to 1
    mean, level = weight @ train, weight @ targets
    spread = np.sqrt(weight @ np.square(train - mean))
    scale = np.where(spread > 0, spread, 1.0)
    standardised = (train - mean) / scale * np.sqrt(weight)[:, None]
    gram = standardised.T @ standardised + PENALTY * np.eye(standardised.shape[1])
    cross = standardised.T @ ((targets - level) * np.sqrt(weight)[:, None])
    slopes = solve(gram, cross, assume_a="pos")
    predicted: Array = (test - mean) / scale @ slopes + level
    return predicted


def _balance(targets: Array) -> Array:
    """Sample weights that give every class present the same total; targets are one-hot (N, C)."""
    counts = targets.sum(0)
    weights = targets @ np.divide(1.0, counts, out=np.zeros_like(counts), where=counts > 0)
    balanced: Array = weights / weights.sum()
    return balanced
