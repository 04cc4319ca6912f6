"""The one training loop: any objective on any stream of batches."""

from __future__ import annotations

import math
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from worker.science.errors import ScienceError
from worker.science.module_outputs import outputs_of
from worker.science.specs import Progress, Protocol
from worker.science.training.objective import Batch, Objective, Step, Stream
from worker.science.training.phases import only_these_train, phase_at

FULL_RATE = "full_rate"  # a parameter group's learning rate before the factors of phase and schedule
MOMENTUM = 0.9  # of sgd


@dataclass(frozen=True)
class Training:
    """A network, what it is trained for, on which batches, for how many epochs, and its optimiser."""

    network: nn.Module
    objective: Objective
    stream: Stream
    optimizer: torch.optim.Optimizer
    epochs: int


@dataclass(frozen=True)
class Losses:
    """Every step of one epoch: the objective's loss, and the sum of its penalties (0 where it has none)."""

    loss: tuple[float, ...]
    penalty: tuple[float, ...]


def start_training(
    network: nn.Module, objective: Objective, *, stream: Stream, protocol: Protocol, epochs: int
) -> Training:
    """A training run before its first step, with the protocol's optimiser over all weights."""
    return Training(network, objective, stream, make_optimizer(network, objective, protocol=protocol), epochs)


def make_optimizer(network: nn.Module, objective: Objective, *, protocol: Protocol) -> torch.optim.Optimizer:
    """The protocol's optimiser over all weights, each with the rate and decay of its group."""
    groups = _optimizer_groups(network, objective, protocol)
    if protocol.optimizer == "adam":
        return torch.optim.Adam(groups, lr=protocol.learning_rate)
    if protocol.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=protocol.learning_rate, momentum=MOMENTUM)
    raise ScienceError(f"optimizer: {protocol.optimizer!r} is not known; use adam or sgd")


def _optimizer_groups(network: nn.Module, objective: Objective, protocol: Protocol) -> list[dict[str, Any]]:
    groups: dict[str | None, dict[str, Any]] = {}
    for name, weight in network.named_parameters():
        group = objective.group_of(name)
        rate = protocol.learning_rate * (group.rate if group else 1.0)
        decay = group.weight_decay if group and group.weight_decay is not None else protocol.weight_decay
        added = {"params": [], "lr": rate, FULL_RATE: rate, "weight_decay": decay}
        groups.setdefault(group.name if group else None, added)["params"].append(weight)
    return list(groups.values())


def train_epoch(training: Training, epoch: int, *, after_step: Callable[[int, int], None]) -> Losses:
    """Train for one epoch (counted from 0), calling after_step(done, total).

    ScienceError when the loss is not finite. Weights that the epoch's phase freezes learn again when it is over.
    """
    network, objective = training.network, training.objective
    phase = phase_at(objective.phases, epoch, epochs=training.epochs)
    factor = phase.rate * objective.schedule(epoch, training.epochs)
    for group in training.optimizer.param_groups:
        group["lr"] = group[FULL_RATE] * factor
    losses: list[float] = []
    penalties: list[float] = []
    total = training.stream.steps(epoch)
    network.train()
    with (
        only_these_train(network, partial(objective.trains, phase)),
        outputs_of(network, objective.watched) as outputs,
    ):
        for batch in training.stream.batches(epoch):
            loss, penalty = _train_step(training, batch, outputs, number=len(losses) + 1)
            losses.append(loss)
            penalties.append(penalty)
            after_step(len(losses), total)
    return Losses(tuple(losses), tuple(penalties))


def steps_of_all(progress: Progress, stage: str, *, epoch: int, epochs: int) -> Callable[[int, int], None]:
    """An `after_step` that reports the steps of all `epochs`, of which this one is number `epoch` (from 0)."""
    return lambda done, total: progress(stage, epoch * total + done, epochs * total)


def _train_step(
    training: Training, batch: Batch, outputs: MutableMapping[str, Tensor], *, number: int
) -> tuple[float, float]:
    """Change the weights once; the loss and the sum of the penalties before the change."""
    network, objective = training.network, training.objective
    training.optimizer.zero_grad(set_to_none=True)
    loss = objective.loss(network, batch)
    step = Step(network, batch, outputs)
    penalties = [penalty(step) for penalty in objective.penalties]
    total = sum(penalties, start=loss)
    if not math.isfinite(total.item()):
        raise ScienceError(
            f"learning_rate: the loss is {total.item()} at step {number}; lower it or check the card"
        )
    total.backward()
    if objective.clip_norm is not None:
        nn.utils.clip_grad_norm_(network.parameters(), objective.clip_norm)
    training.optimizer.step()
    with torch.no_grad():
        for hook in objective.after_step:
            hook(network)
    outputs.clear()
    return loss.item(), sum(penalty.item() for penalty in penalties)
