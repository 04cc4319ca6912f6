"""LogME: the largest log evidence of a Bayesian linear model on frozen features, per sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worker.science import flags
from worker.science.errors import ScienceError
from worker.science.evidence.parts import Evidence, Features, Part
from worker.science.flags import Flag, raised
from worker.science.measures.common_width import MIXED_EXCESS_WIDTHS, of_common_width_if_wide_with_mean
from worker.science.measures.registry import EVERY_KIND, SATURATED, Score, register
from worker.science.measures.samples import (
    ROWS,
    Array,
    Rows,
    are_classes,
    blocks,
    checked_features,
    describe,
    flags_of,
    gram,
    present_classes,
)
from worker.science.target_tasks.registry import LabelKind

NO_RESIDUAL = 1e-6  # below this share of unexplained target the features interpolate it
RELATIVE_EPSILON = 1e-12  # least residual outside the features' span, as a share of the target
GRID_PER_UNIT = 2.0  # grid points a unit of log t; the evidence turns over no faster than that
BELOW, ABOVE = 32.0, 23.0  # how far in log t the grid reaches beyond the eigenvalues
STEPS = 60  # bisection alone would reach 1e-12 of the bracket in 40
NARROW = 1e-8  # a step in log t that changes the evidence by less than rounding
INTERPOLATED = flags.register(  # some column without residual; the value is still the data's when rank = N
    Flag(
        "interpolated",
        "The features reproduce the labels of these few samples exactly. The score is finite, but means little "
        "about new samples.",
    )
)


@dataclass(frozen=True)
class LogEvidence:
    """The largest log evidence a sample of each target column, (C,), and where it lies."""

    per_target: Array  # (C,)
    alpha: Array  # (C,) precision of the weights' prior
    beta: Array  # (C,) precision of the noise
    residual_share: Array  # (C,) unexplained share of the target at the maximum
    rank: int
    rows: int

    @property
    def score(self) -> float:
        """LogME: the mean over target columns; higher is better."""
        return float(self.per_target.mean())

    @property
    def interpolated(self) -> bool:
        """Whether the best model of some column leaves no residual."""
        return bool((self.residual_share < NO_RESIDUAL).any())

    @property
    def saturated(self) -> bool:
        """Whether the evidence has no bound: interpolated in fewer than N dimensions, epsilon sets the value.

        With rank N the features fit any target, and the evidence of doing so is finite.
        """
        return self.interpolated and self.rank < self.rows


@dataclass(frozen=True)
class Spectrum:
    """What the evidence needs of features and targets: k eigenvalues and the targets along them."""

    eigenvalues: Array  # (k,) of the Gram matrix, those that are not rounding
    projected: Array  # (k, C) squared component of each target along each left singular vector
    outside: Array  # (C,) squared length of each target outside the features' span
    length: Array  # (C,) squared length of each target
    rows: int


@register(
    title="LogME",
    source="You et al., JMLR 2022, with the full (D - k) log alpha term",
    labels=EVERY_KIND,
    needs={Part.FEATURES},
    grows_with_width=True,
    list_flags={MIXED_EXCESS_WIDTHS},
    trust=0.34,  # arXiv 2412.20172
)
def logme(evidence: Evidence) -> Score:
    """LogME of the candidate's features: a column for each class present, or the columns of the labels."""
    features = of_common_width_if_wide_with_mean(evidence)
    of_labels = class_evidence if evidence.task.label_kind is LabelKind.CLASS else log_evidence
    largest = of_labels(features.values, features.labels)
    return scored(largest, features)


def scored(largest: LogEvidence, features: Features) -> Score:
    """The evidence as a score, with figures on how far to trust it."""
    record = describe(features) | {"rank": largest.rank, "residual_share": float(largest.residual_share.min())}
    caveats = {
        SATURATED: largest.saturated,
        INTERPOLATED: largest.interpolated and not largest.saturated,
    }
    return Score(largest.score, raised(caveats) + flags_of(features), record)


def class_evidence(features: Tensor, labels: Tensor) -> LogEvidence:
    """`log_evidence` of one-hot columns for the labels present; features (N, D), labels (N,) of any integers.

    Raises ScienceError for fewer than two classes and for what `log_evidence` refuses.
    """
    values = checked_features(features)
    return _largest(decompose(values, present_classes(features, labels)))


def log_evidence(features: Tensor, targets: Tensor) -> LogEvidence:
    """Maximise each target column's evidence over alpha and beta (You et al., ICML 2021).

    features: (N, D); targets: (N, C) or (N,) real numbers (regression, multi-label or one-hot).
    With t = alpha / beta, eigenvalues s_i and targets x_i along them the maximum over beta is closed:
    beta = N / Q(t), Q = sum_i t x_i^2 / (s_i + t) + ||y - its part in the span||^2, which leaves
    L(t) = 1/2 sum_i log(t / (t + s_i)) + N/2 (log(N / Q) - 1 - log 2 pi) to be maximised over t > 0.
    Unchanged by the features' scale, and global: a grid finds the highest of several stationary points.
    Raises ScienceError for NaN or infinity, N < 2, all-zero features or an all-zero target column.
    """
    values = checked_features(features)
    columns = targets.detach().cpu().reshape(len(targets), -1).double()
    if len(columns) != len(values) or not columns.isfinite().all():
        raise ScienceError("targets must be finite, one row a sample; drop samples without a target")
    return _largest(decompose(values, columns))


def decompose(features: Rows, targets: Tensor) -> Spectrum:
    """Eigenvalues of the smaller Gram matrix in float64 and the targets along its vectors.

    targets: (N, C) float64, or (N,) int64 class numbers, whose one-hot columns are built for N <= D only.
    """
    rows, width = features.shape
    length = squared_lengths(targets)
    if not length.all():
        raise ScienceError("a target column is zero throughout; drop it")
    if rows > width:
        s, V = _kept(gram(features), rows)
        x = V.T @ cross(features, targets) / np.sqrt(s)[:, None]
    else:
        s, U = _kept(gram(features.T), width)
        x = U.T @ _columns(targets).numpy()
    projected = x**2
    least = RELATIVE_EPSILON * length
    outside = np.maximum(length - projected.sum(0), least) if len(s) < rows else np.zeros_like(length)
    return Spectrum(s, projected, outside, length, rows)


def cross(features: Rows, targets: Tensor) -> Array:
    """F^T Y in float64, (D, C), from ROWS rows at a time; targets as in `decompose` (sums by class)."""
    if are_classes(targets):
        sums = torch.zeros(int(targets.max()) + 1, features.shape[1], dtype=torch.float64)
        for block, classes in zip(blocks(features), targets.split(ROWS), strict=True):
            sums.index_add_(0, classes, torch.from_numpy(block))
        return sums.T.numpy()
    total = np.zeros((features.shape[1], targets.shape[1]))
    for block, columns in zip(blocks(features), targets.split(ROWS), strict=True):
        total += block.T @ columns.numpy()
    return total


def squared_lengths(targets: Tensor) -> Array:
    """||y_c||^2 of each column, (C,); targets as in `decompose`."""
    lengths: Tensor = targets.bincount().double() if are_classes(targets) else targets.square().sum(0)
    return lengths.numpy()


def _columns(targets: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(targets).double() if are_classes(targets) else targets


def _kept(matrix: Array, other: int) -> tuple[Array, Array]:
    """Eigenvalues above rounding and their vectors, (k,) and (n, k), of the Gram matrix (n, n)."""
    values, vectors = np.linalg.eigh(matrix)
    keep = values > values[-1] * max(len(matrix), other) * np.finfo(np.float64).eps
    if values[-1] <= 0.0:
        raise ScienceError("all features are zero; the checkpoint doesn't respond to this input")
    return values[keep], vectors[:, keep]


def _largest(spectrum: Spectrum) -> LogEvidence:
    return _at(spectrum, _maximise(spectrum))


def _maximise(spectrum: Spectrum) -> Array:
    """log t of each target's largest evidence, (C,): the best grid point, then guarded Newton steps."""
    s = spectrum.eigenvalues
    low, high = np.log(s[0]) - BELOW, np.log(s[-1]) + ABOVE
    grid = np.linspace(low, high, int((high - low) * GRID_PER_UNIT) + 2)  # (G,)
    best = _profile(spectrum, grid).argmax(0)  # (C,)
    lower, upper = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, len(grid) - 1)]
    u = grid[best]
    for _ in range(STEPS):
        slope, curvature = _derivatives(spectrum, u)
        lower, upper = np.where(slope > 0, u, lower), np.where(slope > 0, upper, u)
        step = np.divide(-slope, curvature, out=np.full_like(u, np.inf), where=curvature < 0)
        inside = (lower < u + step) & (u + step < upper)
        previous, u = u, np.where(inside, u + step, (lower + upper) / 2)
        if np.abs(u - previous).max() < NARROW:
            break
    return u


def _profile(spectrum: Spectrum, grid: Array) -> Array:
    """L(t) of every target at every grid point, (G, C), up to what doesn't depend on t."""
    share = 1.0 / (1.0 + spectrum.eigenvalues / np.exp(grid)[:, None])  # (G, k): t / (s + t)
    residual = share @ spectrum.projected + spectrum.outside  # (G, C)
    volume: Array = np.log(share).sum(1, keepdims=True)  # (G, 1)
    return 0.5 * volume - 0.5 * spectrum.rows * np.log(residual)


def _derivatives(spectrum: Spectrum, u: Array) -> tuple[Array, Array]:
    """First and second derivative of L by u = log t at one u a target: two of (C,)."""
    share = 1.0 / (1.0 + spectrum.eigenvalues[:, None] / np.exp(u))  # (k, C)
    turn = share * (1.0 - share)  # d share / du
    part = spectrum.projected
    q = (share * part).sum(0) + spectrum.outside
    q1 = (turn * part).sum(0) / q
    q2 = (turn * (1.0 - 2.0 * share) * part).sum(0) / q
    slope = 0.5 * (1.0 - share).sum(0) - 0.5 * spectrum.rows * q1
    return slope, -0.5 * turn.sum(0) - 0.5 * spectrum.rows * (q2 - q1**2)


def _at(spectrum: Spectrum, u: Array) -> LogEvidence:
    """The evidence and its parameters at one log t a target."""
    t, rows = np.exp(u), spectrum.rows
    share = 1.0 / (1.0 + spectrum.eigenvalues[:, None] / t)  # (k, C)
    q = (share * spectrum.projected).sum(0) + spectrum.outside
    beta = rows / q
    value = 0.5 * np.log(share).sum(0) + 0.5 * rows * (np.log(beta) - 1.0 - np.log(2.0 * np.pi))
    residual = (share**2 * spectrum.projected).sum(0) + spectrum.outside
    rank = len(spectrum.eigenvalues)
    return LogEvidence(value / rows, t * beta, beta, residual / spectrum.length, rank, rows)
