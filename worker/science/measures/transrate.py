"""TransRate: how many nats the classes save in coding the features (Huang et al., ICML 2022)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from worker.science.errors import ScienceError
from worker.science.evidence.parts import Evidence, Part
from worker.science.measures.common_width import MIXED_FEATURE_WIDTHS, of_common_width
from worker.science.measures.registry import Score, register
from worker.science.measures.samples import (
    Array,
    checked_features,
    describe,
    flags_of,
    gram,
    present_classes,
)
from worker.science.target_tasks.registry import LabelKind

BINS = 5  # classes of equal size that a regression target is cut into
LABELS = frozenset({LabelKind.CLASS, LabelKind.NUMBER})
DISTORTION = 1e-4  # the paper's eps^2; meaningful because features come with unit root mean square


@register(
    title="TransRate",
    source="Huang et al., ICML 2022, Eq. 3 and its listing",
    labels=LABELS,
    needs={Part.FEATURES},
    grows_with_width=True,
    list_flags={MIXED_FEATURE_WIDTHS},
)
def transrate(evidence: Evidence) -> Score:
    """TransRate of the candidate's features; grows with D and C, so compare equal widths."""
    return _score(evidence, coding_rate_gain)


@register(
    title="TransRate, official form",
    source="Huang et al., ICML 2022, as in the authors' code",
    labels=LABELS,
    needs={Part.FEATURES},
    grows_with_width=True,
    list_flags={MIXED_FEATURE_WIDTHS},
    name="transrate_official",
)
def official(evidence: Evidence) -> Score:
    """Rows of unit length, classes weighted by size, rates divided by the rank: does not rank like the paper's."""
    return _score(evidence, normalised_rate_gain)


def _score(evidence: Evidence, gain: Callable[[Tensor, Tensor], float]) -> Score:
    """The gain by the classes, or the mean of the gains by each regression target's bins."""
    features = of_common_width(evidence)
    record = describe(features) | {"epsilon": DISTORTION}
    if evidence.task.label_kind is LabelKind.CLASS:
        return Score(gain(features.values, features.labels), flags_of(features), record)
    gains = [gain(features.values, binned(column)) for column in features.labels.unbind(1)]
    return Score(float(np.mean(gains)), flags_of(features), record | {"bins": BINS})


def binned(target: Tensor) -> Tensor:
    """Which of BINS quantile bins each value (N,) is in, (N,) int64; equal values are in one bin.

    A value's bin is that of its mean rank, so that a target of two values or more has two bins or more.
    """
    ranks = rankdata(target.cpu().numpy())  # 1..N
    return torch.from_numpy(np.floor((ranks - 0.5) / len(ranks) * BINS).astype(np.int64))


def coding_rate_gain(features: Tensor, labels: Tensor, *, epsilon: float = DISTORTION) -> float:
    """R(Z) - (1/C) sum_c R(Z_c), R(Z) = 1/2 log det(I + Z^T Z / (n epsilon)), in float64.

    features: (N, D), centred here by their mean over all samples; labels: (N,). The determinant is
    taken of the smaller of Z^T Z and Z Z^T. Raises ScienceError for bad features or a single class.
    """
    values = checked_features(features)
    if not epsilon > 0.0:
        raise ScienceError(f"epsilon must be positive; got {epsilon}")
    classes = present_classes(features, labels)
    centred = values.astype(np.float64)
    centred -= centred.mean(0)
    members = [np.flatnonzero(classes.numpy() == c) for c in range(int(classes.max()) + 1)]
    rates = _rates_by_rows if len(centred) <= centred.shape[1] else _rates_by_columns
    whole, parts = rates(centred, members, epsilon)
    return whole - float(np.mean(parts))


def normalised_rate_gain(features: Tensor, labels: Tensor, *, epsilon: float = DISTORTION) -> float:
    """R(Z) - sum_c n_c/N R(Z_c), R(Z) = 1/(2 rank) sum_i log(1 + share_i / epsilon), in float64.

    Z: the centred features with rows divided by their length; share_i: an eigenvalue of Z^T Z over their sum;
    rank: that of all of Z. Unchanged by the features' scale.
    """
    centred = checked_features(features).astype(np.float64)
    classes = present_classes(features, labels).numpy()
    centred -= centred.mean(0)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    if not length.any():
        return 0.0
    unit = centred / np.where(length > 0, length, 1.0)
    whole = _spectrum(unit)
    rank = int((whole > whole[-1] * max(unit.shape) * np.finfo(np.float64).eps).sum())
    parts = [(classes == c).mean() * _rate_of(_spectrum(unit[classes == c]), epsilon) for c in np.unique(classes)]
    return float((_rate_of(whole, epsilon) - sum(parts)) / rank)


def _spectrum(unit: Array) -> Array:
    """Eigenvalues of Z^T Z, ascending, from the smaller of Z^T Z and Z Z^T."""
    smaller = gram(unit if len(unit) > unit.shape[1] else unit.T)
    values: Array = np.linalg.eigvalsh(smaller).clip(min=0.0)
    return values


def _rate_of(spectrum: Array, epsilon: float) -> float:
    total = spectrum.sum()
    return 0.5 * float(np.log1p(spectrum / (total * epsilon)).sum()) if total > 0 else 0.0


def _rates_by_rows(centred: Array, members: list[np.ndarray], epsilon: float) -> tuple[float, list[float]]:
    """From Z Z^T (N, N), whose blocks are those of the classes."""
    products = gram(centred.T)
    parts = [_rate(products[np.ix_(rows, rows)], len(rows), epsilon) for rows in members]
    return _rate(products, len(centred), epsilon), parts


def _rates_by_columns(centred: Array, members: list[np.ndarray], epsilon: float) -> tuple[float, list[float]]:
    """From Z^T Z (D, D), each row counted once: the sum over the large classes' own, and one of all other rows.

    A class with n_c < D has its rate from Z_c Z_c^T (n_c, n_c), whose determinant is the same.
    """
    width = centred.shape[1]
    large = {number: gram(centred[rows]) for number, rows in enumerate(members) if len(rows) >= width}
    small = [rows for rows in members if len(rows) < width]
    total = sum(large.values(), start=gram(centred[np.concatenate(small)]) if small else np.zeros((width, width)))
    parts = [
        _rate(large[number] if number in large else gram(centred[rows].T), len(rows), epsilon)
        for number, rows in enumerate(members)
    ]
    return _rate(total, len(centred), epsilon), parts


def _rate(products: Array, rows: int, epsilon: float) -> float:
    """1/2 log det(I + products / (rows epsilon)) by Cholesky: the matrix is positive definite."""
    factor = np.linalg.cholesky(np.eye(len(products)) + products / (rows * epsilon))
    return float(np.log(factor.diagonal()).sum())
