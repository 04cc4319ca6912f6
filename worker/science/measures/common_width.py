"""Features of one width for all candidates of a list, for measures that grow with the number of features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from worker.science import flags
from worker.science.evidence.forward_pass import unit_scale
from worker.science.evidence.parts import Evidence, Features, Part, gathered
from worker.science.flags import Flag
from worker.science.measures.samples import Array, checked_features, gram

MIXED_FEATURE_WIDTHS = flags.register(
    Flag(
        "mixed_feature_widths",
        "The candidates have different numbers of features. GBC, the H-score and TransRate grow with that number, "
        "so their values can't be compared between candidates of different widths.",
        differs="feature_width",
    )
)
MIXED_EXCESS_WIDTHS = flags.register(
    Flag(
        "mixed_excess_widths",
        "Some candidates have more features than there are samples, by different numbers. LogME grows with that "
        "excess, so its values can't be compared between these candidates.",
        differs="excess_width",
    )
)


def of_common_width(evidence: Evidence) -> Features:
    """The candidate's features, or their first principal components where the protocol's width is smaller."""
    features = gathered(evidence.features, Part.FEATURES)
    if not evidence.feature_width or evidence.feature_width >= features.values.shape[1]:
        return features
    return evidence.once(_projected)


def of_common_width_if_wide(evidence: Evidence) -> Features:
    """The candidate's features where there are at least as many samples, else those of the common width."""
    features = gathered(evidence.features, Part.FEATURES)
    rows, width = features.values.shape
    return features if rows >= width else of_common_width(evidence)


def _projected(evidence: Evidence) -> Features:
    features = gathered(evidence.features, Part.FEATURES)
    values = torch.from_numpy(principal_components(features, evidence.feature_width or 0))
    scaled, scale = unit_scale(values, features.stage)
    width = features.values.shape[1]
    return replace(features, values=scaled, scale=features.scale * scale, projected_from=width)


def principal_components(features: Features, width: int) -> Array:
    """The features along the `width` directions of most variance, (N, width) float64, from those of all rows.

    Columns beyond the rank are zero. Centred by the mean; each direction's sign and the choice among directions of
    equal variance are arbitrary.
    """
    values = checked_features(features.values).astype(np.float64)
    values -= values.mean(0)
    rows, columns = values.shape
    if rows > columns:
        components: Array = values @ np.linalg.eigh(gram(values))[1][:, ::-1][:, :width]
        return components
    eigenvalues, vectors = np.linalg.eigh(gram(values.T))
    components = (vectors * np.sqrt(eigenvalues.clip(min=0.0)))[:, ::-1][:, :width]
    return np.pad(components, ((0, 0), (0, width - components.shape[1])))
