"""The frozen pass: one look of the source network at the training split, shared by all who want rows of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from models_zoo.architecture import Network
from worker.science.data.loader import Indices, TargetLoader
from worker.science.data.sampling import FROZEN_EPOCH
from worker.science.errors import ScienceError
from worker.science.specs import Progress


@dataclass(frozen=True)
class Seen:
    """One batch of the pass: images `start`, `start + 1`, ... of the training split."""

    start: int
    indices: Indices
    labels: Tensor
    size: tuple[int, ...]  # of the crop; what lies behind it is padding
    padded: tuple[int, ...]
    outputs: Mapping[str, Tensor]  # module path -> its output
    logits: Tensor


class Rows(Protocol):
    """Takes its rows out of every batch; `paths` are the modules whose outputs it wants to see."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Module paths inside the network."""

    def take(self, seen: Seen) -> None:
        """Keep what is wanted of one batch."""


@torch.no_grad()
def frozen_pass(network: Network, loader: TargetLoader, takers: Sequence[Rows], progress: Progress) -> None:
    """Show every training image once to the network in evaluation mode (source running statistics)."""
    train, size = loader.data.indices("train"), loader.protocol.batch_size
    network.module.eval()
    with _outputs_of(network.module, {path for taker in takers for path in taker.paths}) as outputs:
        for start in range(0, len(train), size):
            progress("features", start, len(train))
            indices = train[start : start + size]
            images, labels = loader.batch(indices, epoch=FROZEN_EPOCH)
            padded = loader.pad(images)
            logits = network.module(padded)
            seen = Seen(start, indices, labels, images.shape[2:], padded.shape[2:], outputs, logits)
            for taker in takers:
                taker.take(seen)
            outputs.clear()


@contextmanager
def _outputs_of(module: nn.Module, paths: set[str]) -> Iterator[dict[str, Tensor]]:
    caught: dict[str, Tensor] = {}

    def keep(path: str, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        caught[path] = output

    handles = [module.get_submodule(path).register_forward_hook(partial(keep, path)) for path in sorted(paths)]
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()


def unit_scale(values: Tensor, stage: str) -> tuple[Tensor, float]:
    """Values divided by one scalar, the root mean square of the centred values, and that scalar."""
    if not values.isfinite().all():
        raise ScienceError(
            f"features: the {stage} stage gives NaN or infinite values; check the card's normalisation, and "
            "that the checkpoint's run did not diverge"
        )
    if not len(values):
        raise ScienceError("crop: no training crop has any foreground; choose a larger crop, or leave it out")
    centred = values.double() - values.double().mean(0)
    scale = float(centred.square().mean().sqrt()) or 1.0
    return values / scale, scale
