"""A target dataset in memory: its arrays and its splits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.science.errors import ScienceError
from worker.science.target_tasks.registry import Standard, TargetTask

SPLITS = ("train", "val", "test")
VALIDATION_SHARE = 0.2
TEST_SHARE = 0.2
SMALLEST = {"train": 2, "val": 1}  # images; BatchNorm needs two in a batch
FEW_VALIDATION_IMAGES = 5


@dataclass(frozen=True)
class Target:
    """A validated target dataset.

    images: (N, C, [D,] H, W), as stored; split: (N,) of train, val, test; groups: (N,) codes of the patient (or
    image) each image came from; value_range: lowest and highest possible or seen value. A network for the target
    has one output for each of `classes`. labels, by the task's kind of labels:
    class (N,) or (N, [D,] H, W): places in `classes`, the numbers in the file (of voxels 0 is the background);
    number (N, T): float64 in the file's units; yes_no (N, L): 0 or 1. For the last two `classes` are the columns'
    numbers.
    """

    task: TargetTask
    spatial_dims: int
    images: NDArray[Any]
    labels: NDArray[Any]  # classes in the smallest type that holds them: masks are large
    classes: tuple[int, ...]
    split: NDArray[np.str_]
    groups: NDArray[np.int64]
    value_range: tuple[float, float]
    spacing: tuple[float, ...] | None
    fingerprint: str
    warnings: tuple[str, ...]

    def indices(self, split: str) -> NDArray[np.int64]:
        """Positions of one split's images."""
        return np.flatnonzero(self.split == split)

    @property
    def channels(self) -> int:
        """Channels of every image."""
        return int(self.images.shape[1])

    @cached_property
    def empty(self) -> NDArray[np.bool_] | None:
        """Whether each image is without foreground, (N,); None where there is not a label for every voxel."""
        if not self.task.per_voxel:
            return None
        return np.array([not mask.any() for mask in self.labels], dtype=np.bool_)

    @cached_property
    def standard(self) -> Standard | None:
        """What labels are standardised by, from the training images alone; None where they stay as they are."""
        if self.task.standardise is None:
            return None
        return self.task.standardise(self.labels[self.split == "train"])


def split_by_hash(ids: NDArray[np.str_], *, shares: dict[str, float], rest: str) -> NDArray[np.str_]:
    """Give each id a split: `shares` of the distinct ids in the order of their hashes, the others `rest`.

    The same id always hashes the same; each share gets at least one id where there are enough.
    """
    distinct = sorted(set(ids.tolist()), key=lambda name: hashlib.sha256(str(name).encode()).digest())
    where: dict[str, str] = {}
    start = 0
    for part, share in shares.items():
        count = max(1, round(share * len(distinct)))
        where.update(dict.fromkeys(distinct[start : start + count], part))
        start += count
    return np.array([where.get(name, rest) for name in ids.tolist()], dtype="<U5")


def complete_split(split: NDArray[np.str_] | None, ids: NDArray[np.str_]) -> NDArray[np.str_]:
    """The stored split; 60/20/20 by group where there is none; 20 % of train where no validation is."""
    if split is None:
        shares = {"test": TEST_SHARE, "val": VALIDATION_SHARE}
        return split_by_hash(ids, shares=shares, rest="train")
    if (split == "val").any():
        return split
    train = split == "train"
    completed = split.copy()
    completed[train] = split_by_hash(ids[train], shares={"val": VALIDATION_SHARE}, rest="train")
    return completed


def check_splits(split: NDArray[np.str_], groups: NDArray[np.int64]) -> list[str]:
    """Warnings about the splits; ScienceError when one needed for a ranking is too small."""
    for name, needed in SMALLEST.items():
        count = int((split == name).sum())
        if count < needed:
            raise ScienceError(
                f"split: {count} images in {name!r}; a ranking needs at least {needed}: add images or "
                "give a split with more of them"
            )
    warnings = []
    if (split == "val").sum() < FEW_VALIDATION_IMAGES:
        warnings.append(f"fewer than {FEW_VALIDATION_IMAGES} validation images: outcomes will be noisy")
    if not (split == "test").any():
        warnings.append("no test images: finetune runs will report validation metrics only")
    shared = sum(len(set(split[groups == group].tolist())) > 1 for group in np.unique(groups))
    if shared:
        warnings.append(f"{shared} groups have images in more than one split: metrics may be too good")
    return warnings
