"""Checks, records and float64 products that measures of frozen features share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk
from torch import Tensor

from worker.science import flags
from worker.science.errors import ScienceError
from worker.science.evidence.parts import Features
from worker.science.flags import Flag, raised
from worker.science.measures.registry import DEGENERATE

ROWS = 1024  # rows (or columns) taken to float64 at a time
FEWER_ROWS = flags.register(
    Flag(
        "N<D",
        "There are fewer samples (N) than features (D), so the score rests on little data for so wide a network.",
    )
)

Array = NDArray[np.float64]
Rows = NDArray[np.floating]


def describe(features: Features) -> dict[str, Any]:
    """The part of a score's record that describes the features it was computed from."""
    rows, width = features.values.shape
    counted = {"N": rows, "D": width, **_counted(features.labels)}
    projected = {} if features.projected_from is None else {"projected_from": features.projected_from}
    return counted | {"scale": features.scale, "stage": features.stage} | projected


def are_classes(labels: Tensor) -> bool:
    """Whether labels are class numbers (N,) int64, and not columns (N, T) or real numbers (N,)."""
    return labels.ndim == 1 and not labels.is_floating_point()


def _counted(labels: Tensor) -> dict[str, int]:
    """Classes and the images (or voxels) of the rarest; of columns, how many, and the rarest answer's images."""
    if are_classes(labels):
        _, counts = labels.unique(return_counts=True)
        return {"C": len(counts), "smallest_class": int(counts.min())}
    if labels.is_floating_point():
        return {"targets": labels.shape[1]}
    yes = labels.sum(0)
    return {"labels": labels.shape[1], "smallest_class": int(torch.minimum(yes, len(labels) - yes).min())}


def flags_of(features: Features) -> tuple[str, ...]:
    """Flags of any measure of features: `degenerate` when all rows are equal, and `N<D`."""
    values = features.values
    constant = bool((values == values[:1]).all())
    return raised({DEGENERATE: constant, FEWER_ROWS: values.shape[0] < values.shape[1]})


def checked_features(features: Tensor) -> Rows:
    """Features as an array, once they are a finite (N >= 2, D >= 1) matrix (ScienceError otherwise)."""
    if features.ndim != 2 or features.shape[0] < 2 or features.shape[1] < 1:
        shape = tuple(features.shape)
        raise ScienceError(f"features must be (N, D) with N >= 2; got {shape}: add labelled samples")
    values: Rows = features.detach().cpu().numpy()
    if not np.isfinite(values).all():
        raise ScienceError("features hold NaN or infinity; check the checkpoint and the input's intensities")
    return values


def present_classes(features: Tensor, labels: Tensor) -> Tensor:
    """Labels (N,) renumbered 0..C-1 over those present; ScienceError unless two or more are."""
    if labels.shape != features.shape[:1]:
        raise ScienceError(f"labels must be one a sample, ({len(features)},); got {tuple(labels.shape)}")
    present, classes = labels.cpu().unique(return_inverse=True)
    if len(present) < 2:
        raise ScienceError("only one class is present; add samples of another class")
    return classes


def canonical_order(values: NDArray[Any]) -> NDArray[np.intp]:
    """An order of the rows (N, ...) that depends on what they hold and not on where they stand, (N,) indices."""
    rows = np.ascontiguousarray(values.reshape(len(values), -1))
    return np.argsort(rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel())


def gram(features: Rows) -> Array:
    """F^T F in float64, (D, D), from ROWS rows of F (N, D) at a time.

    BLAS's symmetric update does half the work of a product; measured three times as fast as torch's.
    """
    width = features.shape[1]
    total = np.zeros((width, width), order="F")
    for block in blocks(features):
        total = dsyrk(1.0, block.T, beta=1.0, c=total, overwrite_c=1)  # upper triangle
    upper = np.triu(total, 1)
    return upper + upper.T + np.diag(total.diagonal())


def blocks(features: Rows) -> Iterator[Array]:
    """ROWS rows at a time in float64; each block is overwritten by the next."""
    buffer = np.empty((min(ROWS, len(features)), features.shape[1]))
    for start in range(0, len(features), ROWS):
        rows = features[start : start + ROWS]
        block = buffer[: len(rows)]
        np.copyto(block, rows)
        yield block
