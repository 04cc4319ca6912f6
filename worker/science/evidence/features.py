"""Frozen features of one stage: pooled per image, or at sampled voxels that are the same for every candidate."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models_zoo.architecture import Network
from worker.science.data.loader import Indices, TargetLoader
from worker.science.errors import ScienceError
from worker.science.evidence.forward_pass import FrozenBatch, unit_scale
from worker.science.evidence.parts import Features

INTERPOLATION = {1: "linear", 2: "bilinear", 3: "trilinear"}


def stage_of(network: Network, loader: TargetLoader) -> str:
    """The stage whose features are used: the protocol's, else the encoder or the last decoder stage."""
    wanted = loader.protocol.stage
    if wanted is None:
        return list(network.stages)[-1] if loader.data.task.per_voxel else "encoder"
    if wanted not in network.stages:
        raise ScienceError(f"stage: the network has no {wanted!r}; it has {', '.join(network.stages)}")
    return wanted


class FeatureCollector:
    """One row a sampled voxel: the stage's output, interpolated linearly. Without voxels one row an image: its
    average over space."""

    def __init__(self, network: Network, loader: TargetLoader, voxels: list[Indices] | None) -> None:
        self.loader, self.voxels = loader, voxels
        self.stage = stage_of(network, loader)
        self.path = network.stages[self.stage]
        self._values: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._groups: list[NDArray[np.int64]] = []

    @property
    def paths(self) -> tuple[str, ...]:
        """The stage's module."""
        return (self.path,)

    def update(self, batch: FrozenBatch) -> None:
        """Pool or sample one batch."""
        maps = batch.outputs[self.path].float()
        if self.voxels is None:
            self._values.append(maps.flatten(2).mean(-1))
            self._labels.append(batch.labels)
            self._groups.append(self.loader.data.groups[batch.indices])
        else:
            mode = INTERPOLATION[len(batch.size)]
            self._sample(batch, F.interpolate(maps, batch.padded, mode=mode, align_corners=False), self.voxels)

    def _sample(self, batch: FrozenBatch, maps: Tensor, voxels: list[Indices]) -> None:
        for row, index in enumerate(batch.indices):
            places = torch.from_numpy(voxels[batch.start + row])
            self._values.append(at_places(maps[row], batch.size, places))
            self._labels.append(batch.labels[row].flatten()[places])
            self._groups.append(np.full(len(places), self.loader.data.groups[index]))

    def compute(self) -> Features:
        """All rows, divided by one scalar, the root mean square of the centred features."""
        values, scale = unit_scale(torch.cat(self._values).cpu(), self.stage)
        groups = torch.from_numpy(np.concatenate(self._groups))
        return Features(values, torch.cat(self._labels), groups, scale, self.stage)


def at_places(padded_map: Tensor, size: tuple[int, ...], places: Tensor) -> Tensor:
    """Rows (P, C) of a padded map (C, [D,] H, W) at flat positions (P,) of the crop of that size."""
    valid = padded_map[(slice(None), *(slice(side) for side in size))]
    return valid.flatten(1)[:, places.to(padded_map.device)].T
