"""k-NN: how well the nearest neighbours in other images predict a sample's label."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from worker.science.evidence.parts import Evidence, Part, gathered
from worker.science.measures.folds import FOLDS, held_out_skill
from worker.science.measures.registry import EVERY_KIND, Score, register
from worker.science.measures.samples import Array, canonical_order, describe, flags_of

NEIGHBOURS = 5
LARGEST = 20_000  # training rows looked among; the protocol samples no more voxels than that
BLOCK = 2_000_000  # distances held at a time
TIED = 1e-12  # squared distances nearer than this share of the lengths are equal: rounding is a hundredth of it
GRID = 2.0**-40  # means are rounded to it, so that sums of the same votes in another order are equal


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
    offset, which cosine is not. Of classes with equal votes the nearer neighbours' wins. Rows at one distance
    share the places that they take together, so the order of rows decides nothing.
    """
    nearer = 1.0 + 2.0 ** -torch.arange(5.0, 5.0 + NEIGHBOURS, dtype=torch.float64)
    return held_out_skill(
        features,
        targets,
        groups,
        classes=partial(_predict, weights=nearer),
        values=partial(_predict, weights=torch.ones(NEIGHBOURS, dtype=torch.float64)),
    )


def _predict(train: Array, targets: Array, test: Array, *, weights: Tensor) -> Array:
    """Weighted means of the nearest rows' targets: (N, D), (N, C), (M, D) -> (M, C)."""
    if len(train) > LARGEST:
        order = canonical_order(np.column_stack((train, targets)))
        drawn = order[np.random.default_rng(0).choice(len(train), LARGEST, replace=False)]
        train, targets = train[drawn], targets[drawn]
    weights = weights[: len(train)] / weights[: len(train)].sum()
    centre = train.mean(0)
    rows, values = torch.from_numpy(train - centre), torch.from_numpy(targets)
    blocks = torch.from_numpy(test - centre).split(max(1, BLOCK // len(train)))
    predicted: Array = torch.cat([mean_of_nearest(block, rows, values, weights) for block in blocks]).numpy()
    return predicted


def mean_of_nearest(test: Tensor, rows: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Means of the targets of the nearest rows, (m, D), (N, D), (N, C) -> (m, C), in float64.

    weights: (k,), of the nearest row, the second ...; they sum to 1. Rows at one distance are counted alike: they
    share the weights of their places, and all rows that are as far as the k-th share what is left for them.
    """
    length = test.square().sum(1, keepdim=True)  # (m, 1)
    distances = torch.addmm(rows.square().sum(1), test, rows.T, alpha=-2.0)  # (m, N), squared, less `length`
    near, places = distances.topk(len(weights), largest=False)  # (m, k)
    last = near[:, -1:]
    rounding = TIED * (2.0 * length + last)  # of distances as small as the k-th, which is length + last
    tied = (near[:, :, None] - near[:, None, :]).abs() <= rounding[:, :, None]  # (m, k, k)
    shared = (tied * weights).sum(2) / tied.sum(2)  # (m, k)
    means = torch.einsum("mk,mkc->mc", shared, targets[places])
    crowded = (distances <= last + rounding).sum(1) > len(weights)
    if crowded.any():
        as_far = ((distances[crowded] - last[crowded]).abs() <= rounding[crowded]).double()  # (m', N)
        nearer = shared[crowded] * ~tied[crowded, :, -1]  # (m', k)
        rest = 1.0 - nearer.sum(1, keepdim=True)
        means[crowded] = torch.einsum("mk,mkc->mc", nearer, targets[places[crowded]])
        means[crowded] += rest * (as_far @ targets) / as_far.sum(1, keepdim=True)
    return (means / GRID).round() * GRID
