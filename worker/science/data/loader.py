"""From a target dataset to the tensors a network is fed: order, crops, normalisation, padding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models_zoo.normalisation import Normalisation, Scaling, scaling_of
from worker.science.candidate import Candidate
from worker.science.data.crops import Place, foreground_place, random_place
from worker.science.data.target import Target
from worker.science.specs import Protocol

FROZEN_EPOCH = 0  # whose crops the frozen pass looks at where crops are placed at random
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

    def crop_of(self, index: int, *, epoch: int) -> Place:
        """Where the crop of image `index` lies in this epoch; depends on seed, epoch, image and its mask only."""
        return self._place(index, epoch=epoch, foreground=self.protocol.foreground_crops)

    def window_of(self, index: int) -> Place:
        """Where the frozen pass looks at image `index`: on its foreground, unless all crops are random."""
        if index not in self._windows:
            foreground = float(self.protocol.foreground_crops > 0)
            self._windows[index] = self._place(index, epoch=FROZEN_EPOCH, foreground=foreground)
        return self._windows[index]

    @cached_property
    def _windows(self) -> dict[int, Place]:
        return {}

    def _place(self, index: int, *, epoch: int, foreground: float) -> Place:
        size, key = self.data.images.shape[2:], (self.protocol.seed, epoch, index)
        place = None
        if self.data.task.per_voxel and foreground and self.crop != tuple(size):
            place = foreground_place(self.data.labels[index], self.crop, key, share=foreground)
        return place or random_place(size, self.crop, key)

    def batch(self, indices: Sequence[int] | Indices, *, epoch: int | None = None) -> tuple[Tensor, Tensor]:
        """Normalised images (B, C, [D,] H, W) and their labels; cropped if `epoch` is given.

        labels: (B,) or (B, [D,] H, W) int64 classes, (B, L) int64 of 0 and 1, or (B, T) float32, standardised.
        """
        if epoch is None:
            whole = tuple(slice(0, side) for side in self.data.images.shape[2:])
            return self._parts([(int(index), whole) for index in indices])
        return self._parts([(int(index), self.crop_of(int(index), epoch=epoch)) for index in indices])

    def windows(self, indices: Sequence[int] | Indices) -> tuple[Tensor, Tensor]:
        """A batch as the frozen pass looks at it."""
        return self._parts([(int(index), self.window_of(int(index))) for index in indices])

    def _parts(self, pairs: Sequence[tuple[int, Place]]) -> tuple[Tensor, Tensor]:
        """Normalised parts of images with their labels; every part has one size."""
        size = [place.stop - place.start for place in pairs[0][1]]
        # One layout in memory, whatever the file's: convolutions give other bits on channels that lie last.
        images = torch.empty((len(pairs), self.data.channels, *size))
        for row, (index, place) in enumerate(pairs):
            images[row] = self._normalised(index, place)
        return self._to_device(images), self._labels(pairs)

    def _normalised(self, index: int, place: Place) -> Tensor:
        """A part of an image as the card asks; means, deviations and percentiles are the whole image's."""
        image = self.data.images[index]
        if index not in self._scalings:
            self._scalings[index] = scaling_of(
                torch.from_numpy(np.ascontiguousarray(image)),
                self.normalisation,
                value_range=self.data.value_range,
            )
        return self._scalings[index].of(torch.from_numpy(np.ascontiguousarray(image[(slice(None), *place)])))

    @cached_property
    def _scalings(self) -> dict[int, Scaling]:
        return {}

    def relabelled(self, data: Target) -> TargetLoader:
        """The loader of the same images with other labels: scalings are kept, crops and windows follow labels."""
        other = replace(self, data=data)
        if data.images is self.data.images:
            other._scalings.update(self._scalings)
        return other

    def _labels(self, pairs: Sequence[tuple[int, Place]]) -> Tensor:
        task = self.data.task
        if task.per_voxel:
            labels = np.stack([self.data.labels[index][place] for index, place in pairs])
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
