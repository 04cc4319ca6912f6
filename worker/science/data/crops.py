"""Where a crop of an image lies: at random, or on its foreground; the same place for every candidate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from monai.transforms.utils import generate_label_classes_crop_centers
from numpy.typing import NDArray

Key = tuple[int, int, int]  # the protocol's seed, the epoch, the image
Place = tuple[slice, ...]
_STREAM = 0x63726F70  # keeps the choice of foreground apart from the random places of the same key


def random_place(size: Sequence[int], crop: Sequence[int], key: Key) -> Place:
    """A place for a crop of that size in an image of `size`, uniformly at random."""
    random = np.random.default_rng(key)
    starts = [int(random.integers(side - length + 1)) for side, length in zip(size, crop, strict=True)]
    return _place(starts, crop)


def foreground_place(mask: NDArray[Any], crop: Sequence[int], key: Key, *, share: float) -> Place | None:
    """A place around a foreground voxel of a mask ([D,] H, W), or None: for 1 - share of the keys, or without any.

    As MONAI's RandCropByLabelClasses with equal ratios: first one of the image's foreground classes, then one of
    its voxels, so that a small lesion is met as often as a large organ. At the border the crop is moved inside.
    """
    random = np.random.RandomState(np.random.MT19937(np.random.SeedSequence((_STREAM, *key))))
    if random.random_sample() >= share:
        return None
    voxels = _by_label(mask.ravel())
    if not voxels:
        return None
    [center] = generate_label_classes_crop_centers(crop, 1, mask.shape, voxels, rand_state=random)
    return _place([int(middle) - length // 2 for middle, length in zip(center, crop, strict=True)], crop)


def _by_label(flat: NDArray[Any]) -> list[NDArray[np.int64]]:
    """The places of each foreground label in a flat mask (V,), ascending, label by label; no label is negative."""
    foreground = np.flatnonzero(flat != 0)
    labels = flat[foreground]
    return [foreground[labels == label] for label in np.flatnonzero(np.bincount(labels))]  # nothing is sorted


def _place(starts: Sequence[int], crop: Sequence[int]) -> Place:
    return tuple(slice(start, start + length) for start, length in zip(starts, crop, strict=True))
