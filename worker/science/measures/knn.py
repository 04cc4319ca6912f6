"""k-NN: how well the nearest neighbours in other images predict a sample's label."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from worker.science.evidence.parts import Evidence, Part, gathered
from worker.science.measures.folds import FOLDS, held_out_skill
from worker.science.measures.registry import EVERY_KIND, Score, register
from worker.science.measures.samples import Array, describe, flags_of

NEIGHBOURS = 5
LARGEST = 20_000  # training rows looked among; the protocol samples no more voxels than that
BLOCK = 2_000_000  # distances held at a time


@register(
    title="k nearest neighbours",
    source=f"balanced accuracy (regression: R2, multilabel: AUC) of {NEIGHBOURS} neighbours, "
    f"{FOLDS} folds by image or patient",
    labels=EVERY_KIND,
    needs={Part.FEATURES},
    usual=True,
    trust=0.44,  # arXiv 2412.20172, its nearest-neighbour probe
)
def knn(evidence: Evidence) -> Score:
    """`held_out_skill` of the neighbours' vote or mean; neighbours never come from the same image or patient."""
    features = gathered(evidence.features, Part.FEATURES)
    value = neighbours_skill(features.values, features.labels, features.groups)
    record = describe(features) | {"k": NEIGHBOURS, "folds": FOLDS, "distance": "L2"}
    return Score(value, flags_of(features), record)


def neighbours_skill(features: Tensor, targets: Tensor, groups: Tensor) -> float:
    """`held_out_skill` of the nearest rows of other groups.

    L2 distance, on the features as they are: with a single scale for all of them it is unchanged by scale and
    offset, which cosine is not. Of classes with equal votes the nearer neighbours' wins.
    """
    nearer: Array = 1.0 + 2.0 ** -np.arange(5.0, 5.0 + NEIGHBOURS)
    return held_out_skill(
        features,
        targets,
        groups,
        classes=partial(_predict, weights=nearer),
        values=partial(_predict, weights=np.ones(NEIGHBOURS)),
    )


def _predict(train: Array, targets: Array, test: Array, *, weights: Array) -> Array:
    """Weighted means of the nearest rows' targets: (N, D), (N, C), (M, D) -> (M, C)."""
    if len(train) > LARGEST:
        drawn = np.random.default_rng(0).choice(len(train), LARGEST, replace=False)
        train, targets = train[drawn], targets[drawn]
    centre = train.mean(0)
    centred = torch.from_numpy(train - centre).float()
    weights = weights[: len(train)] / weights[: len(train)].sum()
    predicted = np.empty((len(test), targets.shape[1]))
    step = max(1, BLOCK // len(train))
    for start in range(0, len(test), step):
        block = torch.from_numpy(test[start : start + step] - centre).float()
        distances = torch.cdist(block, centred, compute_mode="use_mm_for_euclid_dist")
        near = distances.topk(len(weights), largest=False).indices.numpy()  # (m, k)
        predicted[start : start + step] = np.einsum("k,mkc->mc", weights, targets[near])
    return predicted
