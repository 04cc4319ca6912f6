"""Which voxels of a target are looked at: the same ones for every candidate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worker.science.data.loader import Indices, TargetLoader
from worker.science.errors import ScienceError


def sample_voxels(loader: TargetLoader, indices: Indices, *, per_class: int | None = None) -> list[Indices]:
    """Flat voxel positions in each image's window, sorted; they depend on data and protocol only.

    Per image as many voxels of every class in its window (at most `per_class`), background at most as many as the
    largest foreground class has; without any foreground, as many as that is in the median over the other images,
    so that the healthy images are seen and the background still doesn't outweigh the rest.
    None: the protocol's `voxels_per_class`, fewer until `voxels_total` is kept; where one voxel per class and
    image is still too much, whole images are left out, in seeded order.
    """
    if not len(indices):
        return []
    masks = [loader.data.labels[index][loader.window_of(int(index))].ravel() for index in indices]
    counts = np.stack([np.bincount(mask, minlength=len(loader.data.classes)) for mask in masks])
    counts[:, 0] = np.minimum(counts[:, 0], _most_background(counts[:, 1:].max(axis=1)))
    most = loader.protocol.voxels_total if per_class is None else None
    if per_class is None:
        per_class = _fitting(counts, loader.protocol.voxels_per_class, loader.protocol.voxels_total)
    drawn = []
    for index, mask, present in zip(indices, masks, counts, strict=True):
        random = np.random.default_rng((loader.protocol.seed, int(index)))
        places = [
            random.choice(np.flatnonzero(mask == label), min(per_class, count), replace=False)
            for label, count in enumerate(present)
            if count
        ]
        drawn.append(np.sort(np.concatenate(places)) if places else np.empty(0, dtype=np.int64))
    return drawn if most is None else _within(drawn, most, seed=loader.protocol.seed)


def _most_background(foreground: NDArray[np.int64]) -> NDArray[np.int64]:
    """How much background each image gives at most, from the size of its largest foreground class (N,)."""
    there = foreground > 0
    if not there.any():
        return foreground
    return np.where(there, foreground, int(np.median(foreground[there])))


def _within(drawn: list[Indices], most: int, *, seed: int) -> list[Indices]:
    """The images that fit into `most` voxels in seeded order; the others give none."""
    order = np.random.default_rng(seed).permutation(len(drawn))
    kept = np.empty(len(drawn), dtype=bool)
    kept[order] = np.cumsum([len(drawn[image]) for image in order]) <= most
    within = [places if keep else places[:0] for places, keep in zip(drawn, kept, strict=True)]
    if any(map(len, drawn)) and not any(map(len, within)):
        raise ScienceError(f"voxels_total: {most} is less than one image needs; raise it")
    return within


def _fitting(counts: NDArray[np.int64], per_class: int, total: int) -> int:
    """The largest number per class, at most `per_class`, that draws no more than `total` voxels (at least 1)."""
    low, high = 1, per_class
    while low < high:
        middle = (low + high + 1) // 2
        if np.minimum(counts, middle).sum() <= total:
            low = middle
        else:
            high = middle - 1
    return low
