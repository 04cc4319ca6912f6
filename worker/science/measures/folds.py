"""Grouped cross-validation: how well a predictor does on images (or patients) that it has not seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor

from worker.science.errors import NotApplicableError, ScienceError
from worker.science.measures.samples import Array, are_classes, checked_features, present_classes

FOLDS = 5
# predict(train features (N, D), train targets (N, C), test features (M, D)) -> (M, C)
Predict = Callable[[Array, Array, Array], Array]


def held_out_skill(
    features: Tensor, targets: Tensor, groups: Tensor, *, classes: Predict, values: Predict
) -> float:
    """Skill on held-out samples in FOLDS folds: balanced accuracy of integer labels (N,), mean area under the ROC
    curve of integer yes-or-no columns (N, L), mean R^2 of real columns (N, T).

    features: (N, D); groups: (N,), no group is in training and test at once. Class predictions are columns to
    take the largest of; classes that are equally large share a sample's credit, and their names decide nothing.
    A class without any other group can't be predicted and counts as missed.
    """
    rows = checked_features(features).astype(np.float64)
    fold = grouped_folds(groups)
    if are_classes(targets):
        labels = present_classes(features, targets).numpy()
        votes = _held_out(rows, np.eye(labels.max() + 1)[labels], fold, classes)
        largest = votes == votes.max(1, keepdims=True)  # (N, C)
        credit = largest[np.arange(len(rows)), labels] / largest.sum(1)
        return float(np.mean([credit[labels == label].mean() for label in range(labels.max() + 1)]))
    columns = targets.detach().cpu().reshape(len(targets), -1).double().numpy()
    if len(columns) != len(rows) or not np.isfinite(columns).all():
        raise ScienceError("targets must be finite, one row a sample; drop samples without a target")
    predicted = _held_out(rows, columns, fold, values)
    return determination(columns, predicted) if targets.is_floating_point() else separation(columns, predicted)


def grouped_folds(groups: Tensor, *, seed: int = 0) -> NDArray[np.int64]:
    """A fold number for every row, (N,): groups dealt out by the seed, blind to labels and the rows' order."""
    distinct, place = torch.unique(groups.cpu(), return_inverse=True)
    if len(distinct) < 2:
        raise NotApplicableError("cross-validation needs two images or patients; all rows are of one")
    dealt = np.random.default_rng(seed).permutation(len(distinct)) % FOLDS
    return dealt[place.numpy()]


def determination(targets: Array, predicted: Array) -> float:
    """Mean R^2 over the columns that vary; ScienceError when none does."""
    total = np.square(targets - targets.mean(0)).sum(0)
    if not total.any():
        raise ScienceError("the targets don't vary; there is nothing to predict")
    residual = np.square(targets - predicted).sum(0)
    return float(np.mean(1 - residual[total > 0] / total[total > 0]))


def separation(labels: Array, scores: Array) -> float:
    """Mean area under the ROC curve over the columns with both labels; ScienceError when there is none."""
    mixed = np.flatnonzero(np.ptp(labels, axis=0))
    if not len(mixed):
        raise ScienceError("the labels don't vary; there is nothing to predict")
    return float(np.mean([roc_auc_score(labels[:, column], scores[:, column]) for column in mixed]))


def _held_out(rows: Array, targets: Array, fold: NDArray[np.int64], predict: Predict) -> Array:
    predicted = np.empty_like(targets)
    for number in np.unique(fold):
        test = fold == number
        predicted[test] = predict(rows[~test], targets[~test], rows[test])
    return predicted
