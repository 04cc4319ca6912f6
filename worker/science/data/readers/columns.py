"""Labels of several columns, as regression and multi-label targets have them: what is taken, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.science.errors import ScienceError

MOST_COLUMNS = 1000
LEAST_SPREAD = 1e-12  # a standard deviation below this share of the mean is rounding
FARTHEST = 1e6  # standard deviations of the training images from their mean


def columns_of(task: str, labels: NDArray[Any], count: int) -> NDArray[Any]:
    """(N, T) float64 for regression, (N, L) of 0 and 1 for multilabel; ScienceError says what is wrong."""
    regression = task == "regression"
    shape, form = labels.shape, "(N,) or (N,T)" if regression else "(N,L)"
    if shape[:1] != (count,) or labels.ndim not in ((1, 2) if regression else (2,)):
        raise ScienceError(f"labels: shape {shape}, but {task} of {count} images needs {form}; align them")
    columns = labels.reshape(count, -1)
    if not 1 <= columns.shape[1] <= MOST_COLUMNS:
        raise ScienceError(f"labels: {columns.shape[1]} columns; give at least 1 and at most {MOST_COLUMNS}")
    return _numbers(columns) if regression else _yes_or_no(columns)


def _numbers(columns: NDArray[Any]) -> NDArray[np.float64]:
    if columns.dtype.kind not in "iuf":
        raise ScienceError(f"labels: {columns.dtype} values; regression needs numbers, else change the task")
    values = columns.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1)).tolist()
    if bad:
        raise ScienceError(
            f"labels: NaN or infinite in {len(bad)} images, first {bad[:5]}; leave those images out"
        )
    return values


def _yes_or_no(columns: NDArray[Any]) -> NDArray[np.uint8]:
    if columns.shape[1] < 2:
        raise ScienceError("labels: one column only; multilabel needs two or more, else use task classification")
    if columns.dtype.kind not in "biuf":
        raise ScienceError(f"labels: {columns.dtype} values; store 0 and 1, one column a label")
    odd = np.unique(columns[(columns != 0) & (columns != 1)])
    if len(odd):
        raise ScienceError(
            f"labels: {odd[:5].tolist()} are neither 0 nor 1; store 0 and 1, and leave out images whose labels "
            "are not known"
        )
    return columns.astype(np.uint8)


def check_columns(task: str, labels: NDArray[Any], split: NDArray[np.str_]) -> list[str]:
    """Warnings about what the splits hold; ScienceError where there is nothing to learn."""
    train, val = labels[split == "train"], labels[split == "val"]
    still = _still_numbers(train) if task == "regression" else _still(train)
    if still:
        raise ScienceError(
            f"labels: one value only in the training images, in columns {still[:5]}; drop them, or add "
            "training images of other values"
        )
    if task == "regression":
        _refuse_far(train, labels)
    warnings = []
    if still := _still(val):
        warnings.append(
            f"one value only in the validation images, in columns {still}: metrics leave those columns out"
        )
    if task == "multilabel" and (labels.sum(axis=1, dtype=np.int64) == 1).all():
        warnings.append("every image has exactly one label: is this a classification?")
    return warnings


def _still(labels: NDArray[Any]) -> list[int]:
    """Columns of one value."""
    found: list[int] = np.flatnonzero((labels == labels[:1]).all(axis=0)).tolist()
    return found


def _still_numbers(train: NDArray[np.float64]) -> list[int]:
    """Columns that vary by no more than rounding; ScienceError for numbers whose variance overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = train.mean(axis=0), train.std(axis=0)
    if not np.isfinite(deviation).all():
        raise ScienceError(f"labels: values up to {np.abs(train).max():g} are too large; use another unit")
    found: list[int] = np.flatnonzero(deviation <= LEAST_SPREAD * np.abs(mean)).tolist()
    return found


def _refuse_far(train: NDArray[np.float64], labels: NDArray[np.float64]) -> None:
    with np.errstate(over="ignore"):
        away = np.abs(labels - train.mean(axis=0)) / train.std(axis=0)
    far = np.flatnonzero((away > FARTHEST).any(axis=1)).tolist()
    if far:
        raise ScienceError(
            f"labels: images {far[:5]} are more than {FARTHEST:.0e} standard deviations from the training "
            "images' mean; correct their values"
        )
