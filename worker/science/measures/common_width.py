"""Features of one width for all candidates of a list, for measures that grow with the number of features."""

from __future__ import annotations

from collections.abc import Callable
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
    return _projected(evidence, _principal_components) if _is_wider(evidence) else _own(evidence)


def of_common_width_if_wide(evidence: Evidence) -> Features:
    """The candidate's features where there are at least as many samples, else those of the common width."""
    rows, width = _own(evidence).values.shape
    return _own(evidence) if rows >= width else of_common_width(evidence)


def of_common_width_if_wide_with_mean(evidence: Evidence) -> Features:
    """The same for a model without intercept, which needs the features' mean: their first singular vectors."""
    rows, width = _own(evidence).values.shape
    wide = rows < width and _is_wider(evidence)
    return _projected(evidence, _singular_components) if wide else _own(evidence)


def _own(evidence: Evidence) -> Features:
    return gathered(evidence.features, Part.FEATURES)


def _is_wider(evidence: Evidence) -> bool:
    return 0 < (evidence.feature_width or 0) < _own(evidence).values.shape[1]


def _projected(evidence: Evidence, components: Callable[[Evidence], Array]) -> Features:
    """The features in these components, computed once for all measures, scaled to a root mean square of 1."""
    features = _own(evidence)
    scaled, scale = unit_scale(torch.from_numpy(evidence.once(components)), features.stage)
    width = features.values.shape[1]
    return replace(features, values=scaled, scale=features.scale * scale, projected_from=width)


def _principal_components(evidence: Evidence) -> Array:
    values = checked_features(_own(evidence).values).astype(np.float64)
    return first_components(values - values.mean(0), evidence.feature_width or 0)


def _singular_components(evidence: Evidence) -> Array:
    values = checked_features(_own(evidence).values).astype(np.float64)
    return first_components(values, evidence.feature_width or 0)


def first_components(values: Array, width: int) -> Array:
    """The rows along their first `width` right singular vectors: (N, D) -> (N, width), float64.

    Of centred rows these are the principal components. Columns beyond the rank are zero. Each direction's sign and
    the choice among directions of equal length are arbitrary.
    """
    rows, columns = values.shape
    if rows > columns:
        components: Array = values @ np.linalg.eigh(gram(values))[1][:, ::-1][:, :width]
        return components
    eigenvalues, vectors = np.linalg.eigh(gram(values.T))
    components = (vectors * np.sqrt(eigenvalues.clip(min=0.0)))[:, ::-1][:, :width]
    return np.pad(components, ((0, 0), (0, width - components.shape[1])))
