"""LogME with an intercept: the evidence of the features once the targets' mean is removed."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from worker.science.errors import NotApplicableError
from worker.science.evidence.parts import Evidence, Features, Part
from worker.science.measures.common_width import MIXED_EXCESS_WIDTHS, of_common_width_if_wide
from worker.science.measures.logme import log_evidence, scored
from worker.science.measures.registry import EVERY_KIND, Score, register
from worker.science.measures.samples import Array, checked_features, describe, flags_of, present_classes
from worker.science.target_tasks.registry import LabelKind


@register(
    title="LogME with intercept",
    source="You et al., JMLR 2022, of N - 1 contrasts of features and targets",
    labels=EVERY_KIND,
    needs={Part.FEATURES},
    grows_with_width=True,
    list_flags={MIXED_EXCESS_WIDTHS},
)
def logme_intercept(evidence: Evidence) -> Score:
    """LogME of a linear model with an intercept under a flat prior, a row of evidence for each of N - 1 contrasts.

    LogME as published has none: where features have mean zero, as after a BatchNorm, it can't express how often
    a class occurs, and its order is that of the features' means. An intercept takes one row: N centred rows hold
    N - 1 independent numbers, and an evidence that counts N of them has no bound once D >= N - 1 (Patterson and
    Thompson, Biometrika 1971). Adding a constant to a feature or a target changes nothing.
    """
    features = of_common_width_if_wide(evidence)
    values = checked_features(features.values)
    targets = _columns(features, evidence.task.label_kind)
    if len(values) < 3:
        raise NotApplicableError("an intercept takes one sample, and LogME needs two more; add labelled samples")
    rows, columns = (torch.from_numpy(contrasts(array)) for array in (values, targets.numpy()))
    if not rows.any():
        return Score(_without_features(columns), flags_of(features), describe(features) | {"rank": 0})
    return scored(log_evidence(rows, columns), features)


def contrasts(values: NDArray[np.floating]) -> Array:
    """H^T values, (N - 1, D) float64 of (N, D): H's columns are an orthonormal basis of what sums to zero.

    H is the Householder reflection that takes the vector of ones to the first axis, less its first column. The
    first row is subtracted before, so that a constant column gives zeros and no rounding.
    """
    count = len(values)
    moved = values[1:].astype(np.float64)
    moved -= values[0]
    moved -= moved.sum(0) / (count - math.sqrt(count))
    return moved


def _columns(features: Features, kind: LabelKind) -> Tensor:
    """One-hot columns of the classes present, or the columns of the labels: (N, C) float64."""
    if kind is LabelKind.CLASS:
        return one_hot(present_classes(features.values, features.labels)).double()
    return features.labels.detach().cpu().double()


def _without_features(columns: Tensor) -> float:
    """The evidence a contrast of noise alone, its variance the contrasts' own; mean over columns."""
    variance = columns.square().mean(0)
    return float((-0.5 * (variance.log() + 1 + math.log(2 * math.pi))).mean())
