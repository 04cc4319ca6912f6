"""Labels as a file stores them, for a target task of any kind of labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.science.target_tasks.registry import LabelKind, TargetTask

IMAGES, SIDE = 24, 8
SPLIT = np.array(["train", "val"] * (IMAGES // 2))
_OF_IMAGES: dict[LabelKind, NDArray[Any]] = {
    LabelKind.CLASS: np.arange(IMAGES) % 3,
    LabelKind.NUMBER: np.random.default_rng(0).normal(50, 9, (IMAGES, 2)),
    LabelKind.YES_NO: np.random.default_rng(0).integers(0, 2, (IMAGES, 3)),
}


def stored_labels(task: TargetTask, *, columns: int | None = None) -> NDArray[Any]:
    """Labels of IMAGES images, or of their SIDE by SIDE voxels; `columns` is 1 for a single number an image."""
    labels = _OF_IMAGES[task.label_kind]
    if columns == 1:
        return labels[:, 0]
    if not task.per_voxel:
        return labels
    return np.stack([np.roll(np.resize(labels, (SIDE, SIDE)), shift, 1) for shift in range(IMAGES)])
