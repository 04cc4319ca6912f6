"""From a target dataset to the tensors a network is fed: order, crops, normalisation, padding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models_zoo.normalisation import Normalisation, Scaling, scaling_of
from worker.science.candidate import Candidate
from worker.science.data.target import Target
from worker.science.specs import Protocol

LARGEST_3D_CROP = 96  # voxels a side, where the protocol leaves the crop open
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class TargetLoader:
    """Batches of the target as one candidate's card asks; images, crops and order depend on the protocol only."""

    data: Target
    normalisation: Normalisation
    divisor: int
    protocol: Protocol
    device: torch.device

    @property
    def crop(self) -> tuple[int, ...]:
        """The size of a training crop, [D,] H, W: the protocol's, at most the image's."""
        size = self.data.images.shape[2:]
        wanted = self.protocol.crop or ((LARGEST_3D_CROP,) * 3 if self.data.spatial_dims == 3 else tuple(size))
        return tuple(min(side, limit) for side, limit in zip(wanted, size, strict=True))

    def crop_of(self, index: int, *, epoch: int) -> tuple[slice, ...]:
        """Where the crop of image `index` lies in this epoch; depends on seed, epoch and image only."""
        random = np.random.default_rng((self.protocol.seed, epoch, index))
        size = self.data.images.shape[2:]
        starts = [int(random.integers(side - crop + 1)) for side, crop in zip(size, self.crop, strict=True)]
        return tuple(slice(start, start + crop) for start, crop in zip(starts, self.crop, strict=True))

    def batch(self, indices: Sequence[int] | Indices, *, epoch: int | None = None) -> tuple[Tensor, Tensor]:
        """Normalised images (B, C, [D,] H, W) and their labels; cropped if `epoch` is given.

        labels: (B,) or (B, [D,] H, W) int64 classes, (B, L) int64 of 0 and 1, or (B, T) float32, standardised.
        """
        whole = (slice(None),) * self.data.spatial_dims
        crops = [whole if epoch is None else self.crop_of(int(index), epoch=epoch) for index in indices]
        pairs = list(zip(map(int, indices), crops, strict=True))
        size = tuple(self.data.images.shape[2:]) if epoch is None else self.crop
        # One layout in memory, whatever the file's: convolutions give other bits on channels that lie last.
        images = torch.empty((len(pairs), self.data.channels, *size))
        for row, (index, crop) in enumerate(pairs):
            images[row] = self._normalised(index, crop)
        return self._to_device(images), self._labels(pairs)

    def _normalised(self, index: int, crop: tuple[slice, ...]) -> Tensor:
        """A part of an image as the card asks; means, deviations and percentiles are the whole image's."""
        image = self.data.images[index]
        if index not in self._scalings:
            self._scalings[index] = scaling_of(
                torch.from_numpy(np.ascontiguousarray(image)),
                self.normalisation,
                value_range=self.data.value_range,
            )
        return self._scalings[index].of(torch.from_numpy(np.ascontiguousarray(image[(slice(None), *crop)])))

    @cached_property
    def _scalings(self) -> dict[int, Scaling]:
        return {}

    def _labels(self, pairs: Sequence[tuple[Any, tuple[slice, ...]]]) -> Tensor:
        task = self.data.task
        if task.per_voxel:
            labels = np.stack([self.data.labels[(index, *crop)] for index, crop in pairs])
        else:
            labels = self.data.labels[[index for index, _ in pairs]]
        return task.tensor(labels, self.data.standard)

    def _to_device(self, images: Tensor) -> Tensor:
        if self.device.type != "cuda":
            return images
        pinned = images.pin_memory().to(self.device, non_blocking=True)
        return pinned.to(memory_format=torch.channels_last) if images.ndim == 4 else pinned

    def pad(self, images: Tensor) -> Tensor:
        """Zeros after the last row, column and slice, up to a multiple of the network's divisor."""
        size = images.shape[2:]
        missing = [-side % self.divisor for side in size]
        if not any(missing):
            return images
        return F.pad(images, [pad for side in reversed(missing) for pad in (0, side)])

    def padded(self, size: Sequence[int]) -> tuple[int, ...]:
        """The least size that is not smaller and fits the network's divisor."""
        return tuple(math.ceil(side / self.divisor) * self.divisor for side in size)

    def training_batches(self, *, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Every training image once in seeded order; a last batch of one image is dropped."""
        for indices in self.training_order(epoch=epoch):
            yield self.batch(indices, epoch=epoch)

    def training_order(self, *, epoch: int) -> list[Indices]:
        """Image indices, batch by batch; at most the protocol's `steps` batches."""
        return self.whole_order(epoch=epoch)[: self.protocol.steps]

    def whole_order(self, *, epoch: int) -> list[Indices]:
        """Image indices of the whole epoch, batch by batch; a last batch of one image is dropped."""
        train = self.data.indices("train")
        order = np.random.default_rng((self.protocol.seed, epoch)).permutation(train)
        size = self.protocol.batch_size
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        return [batch for batch in batches if len(batch) > 1]


def loader_of(target: Target, candidate: Candidate, protocol: Protocol) -> TargetLoader:
    """Batches of the target as the candidate's card asks, on the candidate's device."""
    divisor = candidate.network.divisor
    return TargetLoader(target, candidate.normalisation, divisor, protocol, candidate.device)
