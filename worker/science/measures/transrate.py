"""TransRate: how many nats the classes save in coding the features (Huang et al., ICML 2022)."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from worker.science.errors import ScienceError
from worker.science.evidence import FEATURES, Evidence, gathered
from worker.science.measures.registry import Score, register
from worker.science.measures.samples import (
    FEWER_ROWS,
    Array,
    checked_features,
    describe,
    gram,
    present_classes,
)

DISTORTION = 1e-4  # the paper's eps^2; meaningful because features come with unit root mean square


@register(title="TransRate", source="Huang et al., ICML 2022, Eq. 3 and its listing", needs=(FEATURES,))
def transrate(evidence: Evidence) -> Score:
    """TransRate of the candidate's features; grows with D and C, so compare equal widths."""
    features = gathered(evidence.features, FEATURES)
    value = coding_rate_gain(features.values, features.labels)
    record = describe(features) | {"epsilon": DISTORTION}
    return Score(value, (FEWER_ROWS,) * (record["N"] < record["D"]), record)


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


def _rates_by_rows(centred: Array, members: list[np.ndarray], epsilon: float) -> tuple[float, list[float]]:
    """From Z Z^T (N, N), whose blocks are those of the classes."""
    products = gram(centred.T)
    parts = [_rate(products[np.ix_(rows, rows)], len(rows), epsilon) for rows in members]
    return _rate(products, len(centred), epsilon), parts


def _rates_by_columns(centred: Array, members: list[np.ndarray], epsilon: float) -> tuple[float, list[float]]:
    """From the Z_c^T Z_c (D, D), whose sum is Z^T Z; a class with n_c < D uses Z_c Z_c^T."""
    width = centred.shape[1]
    total, parts = np.zeros((width, width)), []
    for rows in members:
        own = centred[rows]
        products = gram(own)
        total += products
        smaller = products if len(rows) >= width else gram(own.T)
        parts.append(_rate(smaller, len(rows), epsilon))
    return _rate(total, len(centred), epsilon), parts


def _rate(products: Array, rows: int, epsilon: float) -> float:
    """1/2 log det(I + products / (rows epsilon)) by Cholesky: the matrix is positive definite."""
    factor = np.linalg.cholesky(np.eye(len(products)) + products / (rows * epsilon))
    return float(np.log(factor.diagonal()).sum())
