"""The frozen pass: the source network in evaluation mode over the training split, shared by all collectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from models_zoo.architecture import Network
from worker.science.data.loader import Indices, TargetLoader
from worker.science.errors import ScienceError
from worker.science.module_outputs import outputs_of
from worker.science.specs import Progress


@dataclass(frozen=True)
class FrozenBatch:
    """One batch of the pass: some images of the training split, in its order."""

    indices: Indices
    labels: Tensor
    size: tuple[int, ...]  # of the window; what lies behind it is padding
    padded: tuple[int, ...]
    outputs: Mapping[str, Tensor]  # module path -> its output
    logits: Tensor


class Collector(Protocol):
    """Keeps its rows of every batch (`update`); its own `compute` returns them all after the pass."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the modules in the network whose outputs the collector reads."""

    @property
    def images(self) -> Indices:
        """The training images that it keeps rows of."""

    def update(self, batch: FrozenBatch) -> None:
        """Keep the rows that are needed from one batch."""


@torch.no_grad()
def frozen_pass(
    network: Network, loader: TargetLoader, *, collectors: Sequence[Collector], progress: Progress
) -> None:
    """Show each training image that some collector keeps rows of to the network in evaluation mode, once.

    In evaluation mode no layer looks from one image to another, so which are shown together changes no row.
    """
    shown = np.unique(np.concatenate([collector.images for collector in collectors]))
    size = loader.protocol.batch_size
    network.module.eval()
    paths = {path for collector in collectors for path in collector.paths}
    with outputs_of(network.module, sorted(paths)) as outputs:
        for start in range(0, len(shown), size):
            progress("features", start, len(shown))
            indices = shown[start : start + size]
            images, labels = loader.windows(indices)
            padded = loader.pad(images)
            logits = network.module(padded)
            batch = FrozenBatch(indices, labels, images.shape[2:], padded.shape[2:], outputs, logits)
            for collector in collectors:
                collector.update(batch)
            outputs.clear()


def unit_scale(values: Tensor, stage: str) -> tuple[Tensor, float]:
    """Values divided by one scalar, the root mean square of the centred values, and that scalar."""
    if not values.isfinite().all():
        raise ScienceError(
            f"features: the {stage} stage gives NaN or infinite values; check the card's normalisation, and "
            "that the checkpoint's run did not diverge"
        )
    centred = values.double() - values.double().mean(0)
    scale = float(centred.square().mean().sqrt()) or 1.0
    return values / scale, scale
