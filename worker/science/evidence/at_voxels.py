"""Rows of a feature map at sampled voxels, without blowing a coarse map up to the size of the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from worker.science.data.loader import Indices, TargetLoader
from worker.science.data.sampling import sample_voxels
from worker.science.errors import ScienceError
from worker.science.evidence.forward_pass import FrozenBatch

Voxels = Mapping[int, Indices]  # image -> flat positions in its window, sorted


def voxels_of(loader: TargetLoader) -> Voxels:
    """The sampled voxels of every training image that has some; ScienceError where none has."""
    train = loader.data.indices("train")
    drawn = zip(train.tolist(), sample_voxels(loader, train), strict=True)
    voxels = {index: places for index, places in drawn if len(places)}
    if not voxels:
        raise ScienceError("crop: no training crop has any foreground; choose a larger crop, or leave it out")
    return voxels


def images_of(loader: TargetLoader, voxels: Voxels | None) -> Indices:
    """The images that have sampled voxels, or every training image where rows are images."""
    return loader.data.indices("train") if voxels is None else np.array(sorted(voxels), dtype=np.int64)


def sampled_rows(batch: FrozenBatch, voxels: Voxels) -> Iterator[tuple[int, Indices]]:
    """Place in the batch and positions of each of its images that has sampled voxels."""
    for row, index in enumerate(batch.indices.tolist()):
        if index in voxels:
            yield row, voxels[index]


def rows_at(feature_map: Tensor, places: Indices, batch: FrozenBatch) -> Tensor:
    """Rows (P, C) of one image's map (C, *space) at flat positions (P,) of its window.

    A map of another size than the padded window is read linearly, as if it were resized to it.
    """
    if tuple(feature_map.shape[1:]) == batch.padded:
        valid = feature_map[(slice(None), *(slice(side) for side in batch.size))]
        return valid.flatten(1)[:, torch.from_numpy(places).to(feature_map.device)].T
    return _interpolated(feature_map, places, batch)


def _interpolated(feature_map: Tensor, places: Indices, batch: FrozenBatch) -> Tensor:
    where = np.stack(np.unravel_index(places, batch.size), axis=-1)  # (P, dims)
    unit = (2 * where + 1) / np.array(batch.padded) - 1  # in -1..1, pixel centres
    grid = torch.from_numpy(unit[:, ::-1].astype(np.float32)).to(feature_map.device)  # x first
    grid = grid.reshape(1, len(places), *(1,) * (len(batch.size) - 1), len(batch.size))
    rows = F.grid_sample(feature_map[None], grid, mode="bilinear", padding_mode="border", align_corners=False)
    return rows[0].flatten(1).T


def labels_at(places: Indices, labels: Tensor) -> Tensor:
    """Labels (P,) of one image's window at flat positions (P,)."""
    return labels.flatten()[torch.from_numpy(places)]
