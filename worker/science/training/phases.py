"""Phases of a training run: consecutive epochs in which some of the network's weights stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

from worker.science.errors import ScienceError

Names = Callable[[str], bool]  # which of the network's parameters and buffers, by dotted name


def every_name(name: str) -> bool:
    """True for every parameter and buffer."""
    return True


@dataclass(frozen=True)
class Phase:
    """Some consecutive epochs: as many as `epochs`, or a `share` of the run's (at least 1), or all that are left.

    `trains` says which weights change. A layer that keeps running statistics updates them only while one of its
    own parameters or buffers trains; `rate` is a factor on every learning rate.
    """

    name: str
    trains: Names = every_name
    epochs: int | None = None
    share: float | None = None
    rate: float = 1.0

    def __post_init__(self) -> None:
        if self.epochs is not None and self.share is not None:
            raise ValueError(f"phase {self.name}: both epochs and share are given; give one of them")

    def length(self, epochs: int) -> int:
        """How many epochs the phase takes in a run of `epochs`."""
        if self.share is not None:
            return max(1, round(self.share * epochs))
        return epochs if self.epochs is None else self.epochs


EVERYTHING = Phase("everything")


def phase_at(phases: Sequence[Phase], epoch: int, *, epochs: int) -> Phase:
    """The phase that `epoch` (counted from 0) belongs to; after the last one, everything trains."""
    end = 0
    for phase in phases:
        end += phase.length(epochs)
        if epoch < end:
            return phase
    return EVERYTHING


@contextmanager
def only_these_train(network: nn.Module, trains: Names) -> Iterator[None]:
    """Freeze every other weight of a network in training mode; weights learn again as before when it ends.

    A layer whose own parameters and buffers are all frozen is put in evaluation mode, so that its running
    statistics neither change nor follow the batch. ScienceError when no weight is left to train.
    """
    learning = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    frozen = [weight for name, weight in learning.items() if not trains(name)]
    if len(frozen) == len(learning):
        raise ScienceError("method: no weight of this network trains in one of its phases; use another method")
    try:
        for weight in frozen:
            weight.requires_grad_(False)
        _keep_statistics(network, trains)
        yield
    finally:
        for weight in frozen:
            weight.requires_grad_(True)


def _keep_statistics(network: nn.Module, trains: Names) -> None:
    for path, module in network.named_modules():
        prefix = f"{path}." if path else ""
        buffers = [name for name, _ in module.named_buffers(recurse=False)]
        names = buffers + [name for name, _ in module.named_parameters(recurse=False)]
        if buffers and not any(trains(f"{prefix}{name}") for name in names):
            module.training = False  # of this layer alone, not of those inside it
