"""Frozen features of one stage: pooled per image, or at sampled voxels that are the same for every candidate."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models_zoo.architecture import Network
from worker.science.data.loader import Indices, TargetLoader
from worker.science.errors import ScienceError
from worker.science.evidence.at_voxels import Voxels, images_of, labels_at, rows_at, sampled_rows
from worker.science.evidence.forward_pass import FrozenBatch, unit_scale
from worker.science.evidence.parts import Features
from worker.science.stage_widths import usual_stage


def stage_of(network: Network, loader: TargetLoader) -> str:
    """The stage whose features are used: the protocol's, else the encoder or the last decoder stage."""
    wanted = loader.protocol.stage
    if wanted is None:
        return usual_stage(network, loader.data.task.outputs)
    if wanted not in network.stages:
        raise ScienceError(f"stage: the network has no {wanted!r}; it has {', '.join(network.stages)}")
    return wanted


class FeatureCollector:
    """One row a sampled voxel: the stage's output, interpolated linearly. Without voxels one row an image: its
    average over space."""

    def __init__(self, network: Network, loader: TargetLoader, voxels: Voxels | None) -> None:
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

    @property
    def images(self) -> Indices:
        """The images with sampled voxels, or all."""
        return images_of(self.loader, self.voxels)

    def update(self, batch: FrozenBatch) -> None:
        """Pool or sample one batch."""
        maps = batch.outputs[self.path].float()
        groups = self.loader.data.groups[batch.indices]
        if self.voxels is None:
            self._keep(maps.flatten(2).mean(-1), batch.labels, groups)
            return
        for row, places in sampled_rows(batch, self.voxels):
            values = rows_at(maps[row], places, batch)
            self._keep(values, labels_at(places, batch.labels[row]), np.full(len(places), groups[row]))

    def _keep(self, values: Tensor, labels: Tensor, groups: NDArray[np.int64]) -> None:
        self._values.append(values)
        self._labels.append(labels)
        self._groups.append(groups)

    def compute(self) -> Features:
        """All rows, divided by one scalar, the root mean square of the centred features."""
        values, scale = unit_scale(torch.cat(self._values).cpu(), self.stage)
        groups = torch.from_numpy(np.concatenate(self._groups))
        return Features(values, torch.cat(self._labels), groups, scale, self.stage)
