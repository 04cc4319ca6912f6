"""What one training run minimises, and which weights it changes how fast: data for the one training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from worker.science.training.phases import Names, Phase

Batch = tuple[Tensor, ...]
Schedule = Callable[[int, int], float]  # (epoch from 0, epochs) -> factor on every learning rate


def constant_rate(epoch: int, epochs: int) -> float:
    """The protocol's learning rate in every epoch."""
    return 1.0


@dataclass(frozen=True)
class Stream:
    """The batches of every epoch (counted from 0): the same ones whenever the same epoch is asked for."""

    batches: Callable[[int], Iterator[Batch]]
    steps: Callable[[int], int]  # how many batches the epoch has


@dataclass(frozen=True)
class Step:
    """One training step after its forward pass: what a penalty may look at."""

    network: nn.Module
    batch: Batch
    outputs: Mapping[str, Tensor]  # path of a watched module -> its output in this step, with gradient


@dataclass(frozen=True)
class ParameterGroup:
    """Weights that are trained in a way of their own: `members` picks them by dotted name.

    `rate` is a factor on the protocol's learning rate; `weight_decay` takes the place of the protocol's;
    `frozen` weights keep their values.
    """

    name: str
    members: Names
    rate: float = 1.0
    weight_decay: float | None = None
    frozen: bool = False


@dataclass(frozen=True)
class Objective:
    """How a batch becomes a loss, and what a finetune method or pretext recipe adds to plain training.

    loss(network, batch): a scalar with gradient. penalties: scalars added to it, in this order. groups: a weight
    belongs to the first group that has it as a member, or to none. phases: see `Phase`.
    schedule: how learning rates change with the epochs, whatever the phase. watched: paths of modules
    whose outputs penalties look at. after_step(network): called without gradient when the weights have changed.
    clip_norm: the largest norm of all gradients together. memory: tensors besides the network's that change
    during training; they are part of a training state and are restored in place.
    """

    loss: Callable[[nn.Module, Batch], Tensor]
    penalties: tuple[Callable[[Step], Tensor], ...] = ()
    groups: tuple[ParameterGroup, ...] = ()
    phases: tuple[Phase, ...] = ()
    schedule: Schedule = constant_rate
    watched: tuple[str, ...] = ()
    after_step: tuple[Callable[[nn.Module], None], ...] = ()
    clip_norm: float | None = None
    memory: Mapping[str, Tensor] = field(default_factory=dict)

    def group_of(self, name: str) -> ParameterGroup | None:
        """The group that the weight of this name belongs to."""
        return next((group for group in self.groups if group.members(name)), None)

    def trains(self, phase: Phase, name: str) -> bool:
        """Whether the parameter or buffer of this name may change in this phase."""
        group = self.group_of(name)
        return phase.trains(name) and not (group and group.frozen)
