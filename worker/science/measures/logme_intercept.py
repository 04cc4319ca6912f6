"""LogME with an intercept: the evidence of the features once the targets' mean is removed."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from worker.science.evidence.parts import Evidence, Features, Part, gathered
from worker.science.measures.logme import log_evidence, scored
from worker.science.measures.registry import EVERY_KIND, Score, register
from worker.science.measures.samples import checked_features, describe, flags_of, present_classes
from worker.science.target_tasks.registry import LabelKind


@register(
    title="LogME with intercept",
    source="You et al., JMLR 2022, features and targets less their means",
    labels=EVERY_KIND,
    needs={Part.FEATURES},
)
def logme_intercept(evidence: Evidence) -> Score:
    """LogME of centred features and targets, as of a linear model with an intercept under a flat prior.

    LogME as published has none: where features have mean zero, as after a BatchNorm, it can't express how often
    a class occurs, and its order is that of the features' means. Adding a constant to a feature changes nothing.
    """
    features = gathered(evidence.features, Part.FEATURES)
    values = checked_features(features.values)
    targets = _columns(features, evidence.task.label_kind)
    centred = torch.from_numpy((values - values.mean(0, dtype=np.float64)).astype(values.dtype))
    centred_targets = targets - targets.mean(0)
    if not centred.any():
        return Score(_without_features(centred_targets), flags_of(features), describe(features) | {"rank": 0})
    return scored(log_evidence(centred, centred_targets), features)


def _columns(features: Features, kind: LabelKind) -> Tensor:
    """One-hot columns of the classes present, or the columns of the labels: (N, C) float64."""
    if kind is LabelKind.CLASS:
        return one_hot(present_classes(features.values, features.labels)).double()
    return features.labels.detach().cpu().double()


def _without_features(targets: Tensor) -> float:
    """The evidence a sample of noise alone, its variance the targets' own; mean over columns."""
    variance = targets.square().mean(0)
    return float((-0.5 * (variance.log() + 1 + math.log(2 * math.pi))).mean())
