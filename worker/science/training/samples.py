"""The samples of a pretext recipe: each depends on seed, epoch and image only, never on order or workers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from worker.science.data.loader import Indices, TargetLoader
from worker.science.data.target import Target
from worker.science.target_tasks.classification import CLASSIFICATION
from worker.science.training.objective import Batch, Stream
from worker.science.training.options import Options
from worker.science.training.recipe import Recipe

VALIDATION_EPOCH = 2**31 - 1  # validation images get the same samples every time
_STREAM = 0x70726574  # keeps a recipe's random numbers apart from the crops and orders of the same seed


@dataclass(frozen=True)
class Samples:
    """A recipe's samples of one dataset, stacked to batches."""

    recipe: Recipe
    options: Options
    loader: TargetLoader

    def stream(self) -> Stream:
        """Every training image once an epoch, in the loader's order."""
        return Stream(
            batches=lambda epoch: (self.batch(at, epoch=epoch) for at in self.loader.training_order(epoch=epoch)),
            steps=lambda epoch: len(self.loader.training_order(epoch=epoch)),
        )

    def validation(self) -> Iterator[Batch]:
        """The validation images in their order, with the same samples at every call."""
        indices, size = self.loader.data.indices("val"), self.loader.protocol.batch_size
        for start in range(0, len(indices), size):
            yield self.batch(indices[start : start + size], epoch=VALIDATION_EPOCH)

    def batch(self, indices: Indices, *, epoch: int) -> Batch:
        """The stacked samples of these images in this epoch, on the loader's device."""
        sample = self.recipe.sample
        if sample is None:
            return self.loader.batch(indices, epoch=epoch)
        images, _ = self._unlabelled.batch(indices, epoch=epoch)
        samples = [
            sample(image, self._generator(epoch, int(index)), self.options)
            for index, image in zip(indices, images, strict=True)
        ]
        return tuple(torch.stack(part).to(self.loader.device) for part in zip(*samples, strict=True))

    @cached_property
    def _unlabelled(self) -> TargetLoader:
        """The images alone, on the CPU; one loader for the whole run, since it keeps their scalings."""
        return replace(self.loader, data=without_labels(self.loader.data), device=torch.device("cpu"))

    def _generator(self, epoch: int, index: int) -> np.random.Generator:
        return np.random.default_rng((self.loader.protocol.seed, _STREAM, epoch, index))


def without_labels(data: Target) -> Target:
    """The same images, each of the one class there is: a recipe that reads no labels can't see any."""
    return replace(data, task=CLASSIFICATION, labels=np.zeros(len(data.images), np.int64), classes=(0,))
