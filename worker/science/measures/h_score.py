"""Regularised H-score: how much of the features' variance lies between classes (Ibrahim et al., ECML 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve, pinvh
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from worker.science.evidence.parts import Evidence, Part
from worker.science.measures.common_width import MIXED_FEATURE_WIDTHS, of_common_width
from worker.science.measures.registry import Score, register
from worker.science.measures.samples import Array, checked_features, describe, flags_of, present_classes


@dataclass(frozen=True)
class ShrunkScore:
    """The score and how far the covariance was shrunk towards a multiple of the identity (0 to 1)."""

    value: float
    shrinkage: float


@register(
    title="Regularised H-score",
    source="Bao et al., ICIP 2019; Ibrahim et al., ECML 2022",
    needs={Part.FEATURES},
    grows_with_width=True,
    list_flags={MIXED_FEATURE_WIDTHS},
)
def h_score(evidence: Evidence) -> Score:
    """Between 0 and C - 1; unchanged by the features' scale. Grows with the width where N is small."""
    features = of_common_width(evidence)
    shrunk = shrunk_h_score(features.values, features.labels)
    record = describe(features) | {"shrinkage": shrunk.shrinkage}
    return Score(shrunk.value, flags_of(features), record)


def shrunk_h_score(features: Tensor, labels: Tensor) -> ShrunkScore:
    """(1 - d) tr(S_d^-1 cov(class means)), S_d the Ledoit-Wolf covariance of shrinkage d, in float64.

    features: (N, D); labels: (N,). The trace is sum_c n_c m_c^T S_d^-1 m_c / (N - 1) with the centred class
    means m_c: C right-hand sides instead of a D x D product.
    """
    values = checked_features(features).astype(np.float64)
    classes = present_classes(features, labels).numpy()
    values -= values.mean(0)
    if not values.any():
        return ShrunkScore(0.0, 1.0)
    covariance, shrinkage = ledoit_wolf(values)
    counts = np.bincount(classes)
    sums = np.zeros((len(counts), values.shape[1]))
    np.add.at(sums, classes, values)
    means = sums / counts[:, None]  # (C, D)
    explained = np.einsum("cd,dc->c", means, _solve(covariance, means.T))
    return ShrunkScore(float((1 - shrinkage) * (counts @ explained) / (len(values) - 1)), float(shrinkage))


def _solve(covariance: Array, right: Array) -> Array:
    """Sigma^-1 B; by the pseudo-inverse where no shrinkage left the covariance singular."""
    try:
        solved: Array = cho_solve(cho_factor(covariance), right)
    except np.linalg.LinAlgError:
        solved = pinvh(covariance) @ right
    return solved
