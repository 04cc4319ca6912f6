"""Labels that are class numbers, one for an image or one for a voxel: which are accepted and which are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.science.errors import ScienceError
from worker.science.target_tasks.registry import ClassShare, LabelSummary, Standard

MOST_CLASSES = 1000  # more distinct values are measurements or identifiers, not classes
COUNTED = 1 << 20  # labels at a time


def decoded_classes(labels: NDArray[Any], *, field: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """The class numbers as stored, of the wanted shape; ScienceError names what is wrong."""
    if labels.shape != shape:
        raise ScienceError(f"{field}: shape {labels.shape}, but the images need {shape}; align them")
    if labels.dtype.kind not in "bui":
        raise ScienceError(f"{field}: {labels.dtype} values; store integers (one number a class)")
    if labels.dtype.kind == "i" and labels.min() < 0:
        raise ScienceError(f"{field}: negative label {labels.min()}; number the classes from 0")
    if int(labels.max()) > np.iinfo(np.int64).max:
        raise ScienceError(f"{field}: label {labels.max()} is too large; number the classes from 0")
    if (count := _distinct(labels)) > MOST_CLASSES:
        raise ScienceError(
            f"{field}: more than {MOST_CLASSES} different values ({count} or more); store class numbers, "
            "not measurements or identifiers"
        )
    return labels


def _distinct(labels: NDArray[Any]) -> int:
    """How many values there are, counted piece by piece until they are too many."""
    values: set[int] = set()
    for piece in np.array_split(labels.reshape(-1), max(1, labels.size // COUNTED)):
        values.update(np.unique(piece)[: MOST_CLASSES + 1].tolist())
        if len(values) > MOST_CLASSES:
            break
    return len(values)


def reindexed(
    labels: NDArray[Any], split: NDArray[np.str_], *, field: str, always: Sequence[int] = ()
) -> tuple[tuple[int, ...], NDArray[np.integer]]:
    """The classes of the training and validation images, and the labels as places among them, ascending.

    `always` are classes that are there even if no image has them.
    """
    classes = np.union1d(_present(labels[split != "test"]), np.array(always, dtype=np.int64))
    unknown = np.setdiff1d(_present(labels[split == "test"]), classes)
    if len(unknown):
        raise ScienceError(
            f"{field}: {unknown.tolist()[:5]} occur in test images only; add training images of them"
        )
    dtype = np.min_scalar_type(len(classes))
    if np.array_equal(classes, np.arange(len(classes))):
        return tuple(classes.tolist()), labels.astype(dtype, copy=False)
    places = np.stack([np.searchsorted(classes, of_image).astype(dtype) for of_image in labels])
    return tuple(classes.tolist()), places


def _present(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Distinct values, an image at a time: masks are large."""
    values = [np.unique(of_image) for of_image in labels]
    return np.unique(np.concatenate(values)).astype(np.int64) if values else np.empty(0, np.int64)


def checked_classes(
    labels: NDArray[np.integer], classes: tuple[int, ...], split: NDArray[np.str_], *, field: str
) -> list[str]:
    """Warnings about the classes of the splits; ScienceError where there is only one class."""
    train, val = _present(labels[split == "train"]), _present(labels[split == "val"])
    if len(train) < 2:
        raise ScienceError(f"{field}: one class only in the training images; at least two are needed")
    warnings = []
    unseen = [classes[index] for index in np.setdiff1d(val, train)]
    if unseen:
        warnings.append(f"classes {unseen} are in the validation images but not in the training images")
    if len(val) < 2:
        warnings.append("one class only in the validation images: threshold-free metrics can't be computed")
    return warnings


def class_balance(labels: NDArray[Any], classes: tuple[int, ...]) -> LabelSummary:
    """How often each class occurs among the images or voxels."""
    counts = np.zeros(len(classes), dtype=np.int64)
    for of_image in labels:
        counts += np.bincount(of_image.ravel(), minlength=len(classes))
    return shares(classes, counts, total=labels.size)


def shares(classes: tuple[int, ...], counts: NDArray[np.int64], *, total: int) -> LabelSummary:
    """Count and share of each class or label."""
    return LabelSummary(
        classes=tuple(
            ClassShare(label, int(count), int(count) / total) for label, count in zip(classes, counts, strict=True)
        )
    )


def integers(labels: NDArray[Any], standard: Standard | None) -> Tensor:
    """Labels of a batch as int64, of the same shape."""
    return torch.from_numpy(labels.astype(np.int64))
