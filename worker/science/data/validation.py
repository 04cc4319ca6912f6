"""From a file's raw arrays to a validated target dataset, for every reader alike."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.science.data.raw_target import RawTarget
from worker.science.data.target import SPLITS, Target, check_splits, complete_split
from worker.science.errors import ScienceError
from worker.science.target_tasks.registry import TargetTask

SAME_SPACING = 1.01  # a larger factor is not rounding
MOST_CHANNELS = 4  # of an image that may have been stored channels first


def validated(raw: RawTarget, *, task: TargetTask, spatial_dims: int) -> Target:
    """The target dataset with its splits completed; ScienceError names the field that is wrong and the remedy."""
    images = _images(raw.images, spatial_dims)
    decoded = task.decode(raw.labels, images.shape)
    names = _groups(raw.groups, len(images))
    groups = np.unique(names, return_inverse=True)[1].astype(np.int64)
    split = complete_split(_split(raw.split, len(images)), names)
    warnings = check_splits(split, groups)
    labels = task.check(decoded, split)
    return Target(
        task=task,
        spatial_dims=spatial_dims,
        images=images,
        labels=labels.values,
        classes=labels.classes,
        split=split,
        groups=groups,
        value_range=_value_range(images, split),
        spacing=_spacing(raw.spacing, spatial_dims),
        fingerprint=_fingerprint(raw, labels_field=task.field),
        warnings=(*warnings, *labels.warnings, *_spacing_warnings(raw.spacing)),
    )


def _images(images: NDArray[Any], spatial_dims: int) -> NDArray[Any]:
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


def _groups(groups: NDArray[Any] | None, count: int) -> NDArray[np.str_]:
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


def _split(split: NDArray[Any] | None, count: int) -> NDArray[np.str_] | None:
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


def _spacing(spacing: NDArray[Any] | None, spatial_dims: int) -> tuple[float, ...] | None:
    if spacing is None:
        return None
    if spacing.shape[-1:] != (spatial_dims,) or spacing.dtype.kind not in "uif":
        raise ScienceError(f"spacing: shape {spacing.shape}; give {spatial_dims} numbers in millimetres")
    if not spacing.size or not (np.isfinite(spacing) & (spacing > 0)).all():
        raise ScienceError("spacing: not every number is finite and above 0; give millimetres")
    with np.errstate(over="ignore"):
        mean = spacing.reshape(-1, spatial_dims).mean(axis=0)
    if not np.isfinite(mean).all():
        raise ScienceError(f"spacing: numbers up to {spacing.max():g} are too large; give millimetres")
    return tuple(float(size) for size in mean)


def _spacing_warnings(spacing: NDArray[Any] | None) -> list[str]:
    """A warning where the images' own spacings differ by more than rounding."""
    if spacing is None or spacing.ndim < 2:
        return []
    with np.errstate(over="ignore"):
        factor = float((spacing.max(axis=0) / spacing.min(axis=0)).max())
    if factor <= SAME_SPACING:
        return []
    return [
        f"the images' spacings differ by up to a factor of {factor:.3g} along an axis, and images are used as "
        "they are stored; resample them to one spacing"
    ]


def _value_range(images: NDArray[Any], split: NDArray[np.str_]) -> tuple[float, float]:
    """The range of the type for bytes, else of the training images: nothing is learnt from the others."""
    if images.dtype == np.uint8:
        return (0.0, 255.0)
    train = [images[index] for index in np.flatnonzero(split == "train")]
    low, high = float(min(image.min() for image in train)), float(max(image.max() for image in train))
    return (low, high if high > low else low + 1.0)


def _fingerprint(raw: RawTarget, *, labels_field: str) -> str:
    """SHA-256 of what is computed with: the same for the same arrays, however they are stored."""
    arrays = {"images": raw.images, labels_field: raw.labels, "split": raw.split, "groups": raw.groups}
    digest = hashlib.sha256()
    for name, stored in arrays.items():
        if stored is not None:
            array = np.ascontiguousarray(stored)
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.view(np.uint8).data if array.size else b"")
    return digest.hexdigest()
