"""GBC: how little the classes' Gaussians overlap, by Bhattacharyya distance (Pandy et al., CVPR 2022)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import logsumexp
from torch import Tensor

from worker.science import flags
from worker.science.evidence.parts import Evidence, Features, Part
from worker.science.flags import Flag, raised
from worker.science.measures.common_width import MIXED_FEATURE_WIDTHS, of_common_width
from worker.science.measures.registry import SATURATED, Score, register
from worker.science.measures.samples import Array, checked_features, describe, flags_of, present_classes

LEAST_VARIANCE = 1e-4  # of the published code; meaningful because features come with unit root mean square
PAPER = "Pandy et al., CVPR 2022"
OTHER_AXES = flags.register(
    Flag(
        "other_axes",
        "The variances of this candidate are those along its principal components, since it has more features "
        "than others of its list. Those of the narrowest candidates are along single features, so the "
        "values are not quite comparable.",
    )
)


@register(
    title="GBC",
    source=f"{PAPER}, spherical Gaussians",
    needs={Part.FEATURES},
    grows_with_width=True,
    list_flags={MIXED_FEATURE_WIDTHS},
)
def gbc(evidence: Evidence) -> Score:
    """Minus the summed overlap of one-variance Gaussians; at most 0, nearer is better separated."""
    return _score(of_common_width(evidence), spherical=True)


@register(
    title="GBC, diagonal",
    source=f"{PAPER}, diagonal Gaussians",
    needs={Part.FEATURES},
    grows_with_width=True,
    list_flags={MIXED_FEATURE_WIDTHS},
)
def gbc_diagonal(evidence: Evidence) -> Score:
    """Minus the summed overlap of Gaussians with a variance for each feature."""
    features = of_common_width(evidence)
    found = _score(features, spherical=False)
    return replace(found, flags=found.flags + raised({OTHER_AXES: features.projected_from is not None}))


def _score(features: Features, *, spherical: bool) -> Score:
    overlap = log_overlap(features.values, features.labels, spherical=spherical)
    value = -float(np.exp(overlap))
    record = describe(features) | {"log_overlap": overlap, "least_variance": LEAST_VARIANCE}
    return Score(value, raised({SATURATED: value == 0.0}) + flags_of(features), record)


def log_overlap(features: Tensor, labels: Tensor, *, spherical: bool) -> float:
    """log sum over ordered pairs of classes of exp(-B(c, c')), in float64; it doesn't underflow.

    features: (N, D), not projected; labels: (N,). Spherical: one variance a class, the mean of those of its
    features (each at least LEAST_VARIANCE), and its logarithm counted once, as the published code does.
    """
    values = checked_features(features).astype(np.float64)
    classes = present_classes(features, labels).numpy()
    members = [values[classes == c] for c in range(classes.max() + 1)]
    means = np.stack([of_class.mean(0) for of_class in members])  # (C, D)
    variances = np.maximum([of_class.var(0) for of_class in members], LEAST_VARIANCE)  # (C, D)
    if spherical:
        variances = variances.mean(1, keepdims=True)  # (C, 1)
    distances = np.concatenate(
        [
            bhattacharyya(means[c], variances[c], np.delete(means, c, 0), np.delete(variances, c, 0))
            for c in range(len(members))
        ]
    )
    return float(logsumexp(-distances))


def bhattacharyya(mean: Array, variance: Array, means: Array, variances: Array) -> Array:
    """Distances (M,) between one Gaussian, (D,) and (D,), and M others, (M, D) each; variances may be (.., 1)."""
    middle = (variance + variances) / 2
    apart = (np.square(mean - means) / middle).sum(1) / 8
    wider = np.log(middle).sum(1) - 0.5 * (np.log(variance).sum() + np.log(variances).sum(1))
    distances: Array = apart + 0.5 * wider
    return distances
