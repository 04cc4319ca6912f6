"""Labels of several columns, one row an image: which are accepted and which are refused.

`field` is the name that the file has for the labels, which a refusal begins with.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.science.errors import ScienceError

MOST_COLUMNS = 1000
LEAST_SPREAD = 1e-12  # a standard deviation below this share of the mean is rounding
FARTHEST = 1e6  # standard deviations of the training images from their mean


def columns_of(
    labels: NDArray[Any], count: int, *, field: str, task: str, one_axis: bool, form: str
) -> NDArray[Any]:
    """The labels of `count` images as columns (N, T); `one_axis` says whether (N,) counts as a single column."""
    if labels.shape[:1] != (count,) or labels.ndim not in ((1, 2) if one_axis else (2,)):
        raise ScienceError(f"{field}: shape {labels.shape}, but {task} of {count} images needs {form}; align them")
    columns = labels.reshape(count, -1)
    if not 1 <= columns.shape[1] <= MOST_COLUMNS:
        raise ScienceError(f"{field}: {columns.shape[1]} columns; give at least 1 and at most {MOST_COLUMNS}")
    return columns


def numbers(columns: NDArray[Any], *, field: str, task: str) -> NDArray[np.float64]:
    """Columns of finite numbers, float64."""
    if columns.dtype.kind not in "iuf":
        raise ScienceError(f"{field}: {columns.dtype} values; {task} needs numbers, else change the task")
    values = columns.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1)).tolist()
    if bad:
        raise ScienceError(
            f"{field}: NaN or infinite in {len(bad)} images, first {bad[:5]}; leave those images out"
        )
    return values


def refuse_still(columns: list[int], *, field: str) -> None:
    """ScienceError when there are columns that don't vary in the training images."""
    if columns:
        raise ScienceError(
            f"{field}: one value only in the training images, in columns {columns[:5]}; drop them, or add "
            "training images of other values"
        )


def still_warnings(validation: NDArray[Any]) -> list[str]:
    """A warning about columns that don't vary in the validation images."""
    still = still_columns(validation)
    if not still:
        return []
    return [f"one value only in the validation images, in columns {still}: metrics leave those columns out"]


def still_columns(labels: NDArray[Any]) -> list[int]:
    """Columns of one value."""
    columns: list[int] = np.flatnonzero((labels == labels[:1]).all(axis=0)).tolist()
    return columns


def still_numbers(train: NDArray[np.float64], *, field: str) -> list[int]:
    """Columns that vary by no more than rounding; ScienceError for numbers whose variance overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = train.mean(axis=0), train.std(axis=0)
    _refuse_overflow(train, deviation, field=field)
    columns: list[int] = np.flatnonzero(deviation <= LEAST_SPREAD * np.abs(mean)).tolist()
    return columns


def refuse_large(labels: NDArray[np.float64], *, field: str) -> None:
    """ScienceError for columns whose variance over all images overflows: no summary could say their deviation."""
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = np.array([column.std() for column in labels.T])
    _refuse_overflow(labels, deviation, field=field)


def _refuse_overflow(labels: NDArray[np.float64], deviation: NDArray[np.float64], *, field: str) -> None:
    if not np.isfinite(deviation).all():
        raise ScienceError(f"{field}: values up to {np.abs(labels).max():g} are too large; use another unit")


def refuse_far(train: NDArray[np.float64], labels: NDArray[np.float64], *, field: str) -> None:
    """ScienceError when some label lies absurdly far from those of the training images."""
    with np.errstate(over="ignore"):
        away = np.abs(labels - train.mean(axis=0)) / train.std(axis=0)
    far = np.flatnonzero((away > FARTHEST).any(axis=1)).tolist()
    if far:
        raise ScienceError(
            f"{field}: images {far[:5]} are more than {FARTHEST:.0e} standard deviations from the training "
            "images' mean; correct their values"
        )
