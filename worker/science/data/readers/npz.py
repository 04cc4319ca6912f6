"""The npz layout: images, labels or masks, and optional split, groups and spacing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.science.data.readers.columns import check_columns, columns_of
from worker.science.data.readers.members import read_members
from worker.science.data.readers.registry import register
from worker.science.data.target import SPLITS, Target, check_splits, complete_split
from worker.science.errors import ScienceError

COLUMNS = ("regression", "multilabel")  # tasks whose labels may have several columns
FIELDS = ("images", "labels", "masks", "split", "groups", "spacing")
MOST_CHANNELS = 4  # of an image that may have been stored channels first
MANY_CLASSES = 16  # a mask with more values was probably interpolated
MOST_CLASSES = 1000  # more distinct values are measurements or identifiers, not classes
COUNTED = 1 << 20  # labels at a time
Arrays = Mapping[str, NDArray[Any]]


@register(
    endings=(".npz",),
    summary="images (N,[D,]H,W[,C]); integer masks (N,[D,]H,W), or labels: classes (N,), numbers (N[,T]) or "
    "0 and 1 (N,L); split, groups, spacing",
)
def read_npz(path: Path, task: str, spatial_dims: int) -> Target:
    """Read the documented npz layout; never unpickles."""
    arrays = read_members(path, FIELDS)
    images = _images(arrays, spatial_dims)
    field = "masks" if task == "segmentation" else "labels"
    raw = _labels(arrays, field, task, images)
    names = _groups(arrays, len(images))
    groups = np.unique(names, return_inverse=True)[1].astype(np.int64)
    split = complete_split(_split(arrays, len(images)), names)
    warnings = check_splits(split, groups)
    if task in COLUMNS:
        classes, labels = tuple(range(raw.shape[1])), raw
        warnings += check_columns(task, labels, split)
    else:
        classes, labels = _reindex(raw, split, field=field)
        warnings += _check_classes(task, labels, classes, split)
    return Target(
        task=task,
        spatial_dims=spatial_dims,
        images=images,
        labels=labels,
        classes=classes,
        split=split,
        groups=groups,
        value_range=_value_range(images, split),
        spacing=_spacing(arrays, spatial_dims),
        fingerprint=_fingerprint(arrays, field),
        warnings=tuple(warnings),
    )


def _images(arrays: Arrays, spatial_dims: int) -> NDArray[Any]:
    if "images" not in arrays:
        raise ScienceError("images: the npz has no such array; store (N,[D,]H,W[,C]) numbers under that name")
    images = arrays["images"]
    if images.ndim not in (spatial_dims + 1, spatial_dims + 2):
        raise ScienceError(
            f"images: shape {images.shape} does not fit spatial_dims {spatial_dims}; expected "
            f"{'(N,D,H,W[,C])' if spatial_dims == 3 else '(N,H,W[,C])'}"
        )
    if images.dtype.kind not in "buif" or not images.size:
        raise ScienceError(f"images: {images.dtype} array of shape {images.shape}; store numbers, at least one")
    if images.ndim == spatial_dims + 2 and images.shape[-1] > MOST_CHANNELS >= images.shape[1]:
        raise ScienceError(f"images: shape {images.shape} looks like channels first; store (N,[D,]H,W,C)")
    with_channels = images[..., None] if images.ndim == spatial_dims + 1 else images
    if images.dtype.kind == "f":
        _refuse_non_finite(images)
    return np.moveaxis(with_channels, -1, 1)


def _refuse_non_finite(images: NDArray[Any]) -> None:
    bad = [index for index, image in enumerate(images) if not np.isfinite(image).all()]
    if bad:
        raise ScienceError(f"images: NaN or infinite values in {len(bad)} images, first {bad[:5]}; replace them")


def _labels(arrays: Arrays, field: str, task: str, images: NDArray[Any]) -> NDArray[Any]:
    if field not in arrays:
        raise ScienceError(f"{field}: the npz has no such array, which {task} needs; add it or change the task")
    if task in COLUMNS:
        return columns_of(task, arrays[field], len(images))
    return _classes(arrays[field], field, images)


def _classes(labels: NDArray[Any], field: str, images: NDArray[Any]) -> NDArray[Any]:
    if field == "labels" and labels.shape == (len(images), 1):
        labels = labels[:, 0]
    expected = (len(images), *images.shape[2:]) if field == "masks" else (len(images),)
    if labels.shape != expected:
        raise ScienceError(f"{field}: shape {labels.shape}, but the images need {expected}; align them")
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
    """How many values there are, counted image by image until they are too many."""
    found: set[int] = set()
    for one in np.array_split(labels.reshape(-1), max(1, labels.size // COUNTED)):
        found.update(np.unique(one)[: MOST_CLASSES + 1].tolist())
        if len(found) > MOST_CLASSES:
            break
    return len(found)


def _reindex(
    raw: NDArray[Any], split: NDArray[np.str_], *, field: str
) -> tuple[tuple[int, ...], NDArray[np.integer]]:
    """The classes of the training and validation images, and the labels as places among them, 0 first."""
    known = _present(raw[split != "test"])
    if field == "masks":
        known = np.union1d(known, [0])
    unknown = np.setdiff1d(_present(raw[split == "test"]), known)
    if len(unknown):
        raise ScienceError(
            f"{field}: {unknown.tolist()[:5]} occur in test images only; add training images of them"
        )
    dtype = np.min_scalar_type(len(known))
    if np.array_equal(known, np.arange(len(known))):
        return tuple(known.tolist()), raw.astype(dtype, copy=False)
    places = np.stack([np.searchsorted(known, one).astype(dtype) for one in raw])
    return tuple(known.tolist()), places


def _present(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Distinct values, an image at a time: masks are large."""
    found = [np.unique(one) for one in labels]
    return np.unique(np.concatenate(found)).astype(np.int64) if found else np.empty(0, np.int64)


def _check_classes(
    task: str, labels: NDArray[np.integer], classes: tuple[int, ...], split: NDArray[np.str_]
) -> list[str]:
    field = "masks" if task == "segmentation" else "labels"
    train, val = _present(labels[split == "train"]), _present(labels[split == "val"])
    if task == "segmentation" and not train.any():
        raise ScienceError("masks: no foreground in any training image; store class numbers from 1")
    if len(train) < 2:
        raise ScienceError(f"{field}: one class only in the training images; at least two are needed")
    warnings = []
    unseen = [classes[index] for index in np.setdiff1d(val, train)]
    if unseen:
        warnings.append(f"classes {unseen} are in the validation images but not in the training images")
    if len(val) < 2:
        warnings.append("one class only in the validation images: threshold-free metrics can't be computed")
    if task == "segmentation":
        empty = sum(not mask.any() for mask in labels)
        if empty:
            warnings.append(f"{empty} images have an empty mask")
        if len(classes) > MANY_CLASSES:
            warnings.append(
                f"{len(classes)} different values in the masks: were they interpolated, or saved as JPEG?"
            )
    return warnings


def _groups(arrays: Arrays, count: int) -> NDArray[np.str_]:
    groups = arrays.get("groups")
    if groups is None:
        return np.arange(count).astype(np.str_)
    if groups.shape != (count,):
        raise ScienceError(f"groups: shape {groups.shape}, but there are {count} images; give one an image")
    return _texts("groups", groups)


def _texts(field: str, values: NDArray[Any]) -> NDArray[np.str_]:
    """Numbers and texts as texts."""
    try:
        return values.astype(np.str_)
    except ValueError as error:  # bytes that are no ASCII
        raise ScienceError(f"{field}: the bytes are no plain text; store text or numbers") from error


def _split(arrays: Arrays, count: int) -> NDArray[np.str_] | None:
    split = arrays.get("split")
    if split is None:
        return None
    if split.shape != (count,):
        raise ScienceError(f"split: shape {split.shape}, but there are {count} images; give one an image")
    names = _texts("split", split)
    names = np.where(np.isin(names, ("valid", "validation")), "val", names)
    unknown = sorted(set(names.tolist()) - set(SPLITS))
    if unknown:
        raise ScienceError(f"split: unknown values {unknown[:5]}; give each image one of {', '.join(SPLITS)}")
    return names.astype("<U5")


def _spacing(arrays: Arrays, spatial_dims: int) -> tuple[float, ...] | None:
    spacing = arrays.get("spacing")
    if spacing is None:
        return None
    if spacing.shape[-1:] != (spatial_dims,) or spacing.dtype.kind not in "uif":
        raise ScienceError(f"spacing: shape {spacing.shape}; give {spatial_dims} numbers in millimetres")
    if not spacing.size or not (np.isfinite(spacing) & (spacing > 0)).all():
        raise ScienceError("spacing: not every number is finite and above 0; give millimetres")
    return tuple(float(size) for size in spacing.reshape(-1, spatial_dims).mean(axis=0))


def _value_range(images: NDArray[Any], split: NDArray[np.str_]) -> tuple[float, float]:
    """Of the type for bytes, else of the training images: nothing is learnt from the others."""
    if images.dtype == np.uint8:
        return (0.0, 255.0)
    train = [images[index] for index in np.flatnonzero(split == "train")]
    low, high = float(min(image.min() for image in train)), float(max(image.max() for image in train))
    return (low, high if high > low else low + 1.0)


def _fingerprint(arrays: Arrays, field: str) -> str:
    digest = hashlib.sha256()
    for name in ("images", field, "split", "groups"):
        if name in arrays:
            array = np.ascontiguousarray(arrays[name])
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.view(np.uint8).data if array.size else b"")
    return digest.hexdigest()
