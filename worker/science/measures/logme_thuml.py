"""LogME by the reference's fixed-point rule, for comparison with published numbers."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from worker.science.measures.samples import Array, are_classes, checked_features, present_classes

STEPS = 11
NARROW = 1e-3  # relative change of alpha / beta that ends the iteration
EPSILON = 1e-5  # absolute, in both updates: what makes the reference depend on the features' scale
LEAST = 1e-10  # singular values up to this are dropped


def thuml_log_evidence(features: Tensor, targets: Tensor, *, corrected: bool = False) -> float:
    """LogME with the update rule, stop rule and epsilons of thuml's default code, in float64.

    features: (N, D); targets: (N,) classes or (N, C) real columns. `corrected` adds the -(D - k)/2 log alpha that
    the reference forgets for rank k < D. No measure is registered on it: for N < D it ranks wide networks first
    whatever they hold, and where it is right `logme` gives the same to its early stopping.
    """
    values = checked_features(features).astype(np.float64)
    columns = targets.detach().cpu().double().numpy()
    if are_classes(targets):
        classes = present_classes(features, targets).numpy()
        columns = np.eye(classes.max() + 1)[classes]
    singular, left = _decompose(values)
    missing = values.shape[1] - len(singular) if corrected else 0
    columns = columns.reshape(len(values), -1)
    return float(np.mean([_evidence(singular**2, left, y, values.shape[1], missing) for y in columns.T]))


def _decompose(values: Array) -> tuple[Array, Array]:
    """Singular values (k,) and left vectors (N, k); for N > D by way of F^T F, as the reference does."""
    rows, width = values.shape
    if rows <= width:
        left, singular, _ = np.linalg.svd(values, full_matrices=False)
        return singular, left
    vectors, squared, _ = np.linalg.svd(values.T @ values)
    singular = np.sqrt(squared)
    keep = singular > LEAST
    return singular[keep], values @ vectors[:, keep] / singular[keep]


def _evidence(s: Array, left: Array, y: Array, width: int, missing: int) -> float:
    """The evidence a sample of one column at the last iterate."""
    rows = len(y)
    x2 = (left.T @ y) ** 2
    outside = y @ y - x2.sum()
    alpha = beta = 1.0
    value = float("-inf")
    for _ in range(STEPS):
        t = alpha / beta
        gamma = (s / (s + t)).sum()
        length = (s * x2 / (t + s) ** 2).sum()
        residual = (x2 / (1 + s / t) ** 2).sum() + outside
        alpha, beta = gamma / (length + EPSILON), (rows - gamma) / (residual + EPSILON)
        value = (
            (width - missing) / 2 * np.log(alpha)
            + rows / 2 * np.log(beta / (2 * np.pi))
            - np.log(alpha + beta * s).sum() / 2
            - beta / 2 * residual
            - alpha / 2 * length
        )
        if abs(alpha / beta - t) <= NARROW * t:
            break
    return value / rows
