"""Frozen features of the decoder stages at voxels of a few images, for measures that compare images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from models_zoo.architecture import Network
from worker.science.data.loader import Indices, TargetLoader
from worker.science.data.sampling import sample_voxels
from worker.science.evidence.at_voxels import labels_at, rows_at, sampled_rows
from worker.science.evidence.forward_pass import FrozenBatch, unit_scale
from worker.science.evidence.parts import Stage

IMAGES = 32  # at most: 496 pairs of images
SHARES = (0.5, 1.0, 2.0)  # of the protocol's voxels per class, from coarse to fine: 100, 200, 400 by default


class StageCollector:
    """The last three decoder stages, interpolated linearly at voxels of at most IMAGES training images.

    Images (those with foreground in their window) and voxels depend on data and protocol only. A stage is read at
    the voxels themselves, so a coarse stage of many channels is never blown up to the size of the image.
    """

    def __init__(self, network: Network, loader: TargetLoader) -> None:
        last = [name for name in network.stages if name.startswith("decoder_")][-len(SHARES) :]
        self.stages = {name: network.stages[name] for name in last}
        self.images = _chosen(loader, loader.data.indices("train") if last else np.empty(0, np.int64))
        self._voxels = {
            name: dict(zip(self.images.tolist(), sample_voxels(loader, self.images, per_class=count), strict=True))
            for name, count in zip(last, _counts(loader)[-len(last) :], strict=False)
        }
        self._values: dict[str, list[Tensor]] = {name: [] for name in last}
        self._labels: dict[str, list[Tensor]] = {name: [] for name in last}
        self._images: dict[str, list[Tensor]] = {name: [] for name in last}

    @property
    def paths(self) -> tuple[str, ...]:
        """The stages' modules."""
        return tuple(self.stages.values())

    def update(self, batch: FrozenBatch) -> None:
        """Sample every stage of one batch."""
        for name, path in self.stages.items():
            for row, places in sampled_rows(batch, self._voxels[name]):
                self._values[name].append(rows_at(batch.outputs[path][row].float(), places, batch).cpu())
                self._labels[name].append(labels_at(places, batch.labels[row]))
                self._images[name].append(torch.full((len(places),), int(batch.indices[row])))

    def compute(self) -> tuple[Stage, ...]:
        """The stages from coarse to fine; none when the network has no decoder or no image has foreground."""
        return tuple(self._stage(name) for name in self.stages if self._values[name])

    def _stage(self, name: str) -> Stage:
        values, scale = unit_scale(torch.cat(self._values[name]), name)
        return Stage(name, values, torch.cat(self._labels[name]), torch.cat(self._images[name]), scale)


def _counts(loader: TargetLoader) -> list[int]:
    return [max(2, round(share * loader.protocol.voxels_per_class)) for share in SHARES]


def _chosen(loader: TargetLoader, train: Indices) -> Indices:
    """At most IMAGES of the training images whose window has foreground, drawn by the protocol's seed."""
    with_foreground = [
        index for index in train.tolist() if loader.data.labels[index][loader.window_of(index)].any()
    ]
    order = np.random.default_rng(loader.protocol.seed).permutation(with_foreground)
    return np.sort(order[:IMAGES]).astype(np.int64)
