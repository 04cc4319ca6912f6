"""The whole state of a training run after an epoch: captured, stored as plain tensors and numbers, restored."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from worker.science.errors import ScienceError
from worker.science.training.loop import Training
from worker.science.training.random_numbers import random_states, restore_random_states
from worker.science.training.trained_epoch import TrainedEpoch, dict_form, of_dict_form

Tensors = Mapping[str, Tensor]
PARTS = ("network", "optimizer", "random", "memory")  # the tensors that every state has


@dataclass(frozen=True)
class Best:
    """The network of the best epoch so far; `epoch` is counted from 1, a higher `score` is better."""

    epoch: int
    score: tuple[float, ...]
    network: Tensors


@dataclass(frozen=True)
class TrainingState:
    """What a run needs to go on after `epoch` epochs exactly as if it had not stopped; tensors on the CPU.

    optimizer: "<position of the weight>/<name>" -> tensor; random: the states of all generators by name;
    memory: the objective's; epochs: what was recorded of each.
    """

    epoch: int
    network: Tensors
    optimizer: Tensors
    random: Tensors
    memory: Tensors = field(default_factory=dict)
    best: Best | None = None
    epochs: tuple[TrainedEpoch, ...] = ()


AfterEpoch = Callable[[TrainingState], None]  # called with the state after every epoch


def capture(
    training: Training, epoch: int, *, best: Best | None = None, epochs: tuple[TrainedEpoch, ...] = ()
) -> TrainingState:
    """Copies of everything that changes while training, when `epoch` epochs are done."""
    return TrainingState(
        epoch=epoch,
        network=_copies(training.network.state_dict()),
        optimizer=_optimizer_tensors(training.optimizer),
        random=random_states(_device(training)),
        memory=_copies(training.objective.memory),
        best=best and Best(best.epoch, best.score, _copies(best.network)),
        epochs=epochs,
    )


def restore(training: Training, state: TrainingState) -> None:
    """Put a captured state into a run that was prepared in the same way; ScienceError when it is another's."""
    try:
        training.network.load_state_dict(dict(state.network))
        training.optimizer.load_state_dict(_optimizer_state(training.optimizer, state.optimizer))
        _restore_memory(training.objective.memory, state.memory)
    except (RuntimeError, ValueError, KeyError) as error:
        why = str(error).partition("\n")[0]
        raise ScienceError(
            f"resume: the state is of another run: {why}; start this run from its beginning"
        ) from error
    restore_random_states(state.random, _device(training))


def save_state(state: TrainingState, path: Path) -> None:
    """Write a safetensors file beside `path`, then rename it: a file that is there is whole."""
    tensors = {f"{part}/{key}": value for part in PARTS for key, value in getattr(state, part).items()}
    rows = [dict_form(epoch) for epoch in state.epochs]
    numbers: dict[str, Any] = {"epoch": state.epoch, "rows": rows, "best": None}
    if state.best is not None:
        tensors |= {f"best/{key}": value for key, value in state.best.network.items()}
        numbers["best"] = {"epoch": state.best.epoch, "score": state.best.score}
    partial = path.with_name(f"{path.name}.part")
    save_file(
        {key: value.contiguous() for key, value in tensors.items()}, partial, {"numbers": json.dumps(numbers)}
    )
    partial.rename(path)


def load_state(path: Path) -> TrainingState:
    """Read what `save_state` wrote."""
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in (*PARTS, "best")}
    with safe_open(path, framework="pt") as file:
        numbers = json.loads(file.metadata()["numbers"])
        for name in file.keys():  # noqa: SIM118 - not a mapping
            part, _, key = name.partition("/")
            parts[part][key] = file.get_tensor(name)
    best_network = parts.pop("best")
    best = numbers["best"] and Best(numbers["best"]["epoch"], tuple(numbers["best"]["score"]), best_network)
    epochs = tuple(map(of_dict_form, numbers["rows"]))
    return TrainingState(numbers["epoch"], **parts, best=best, epochs=epochs)


def _copies(tensors: Tensors) -> dict[str, Tensor]:
    return {key: value.detach().to("cpu", copy=True) for key, value in tensors.items()}


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The running averages and counts of every weight that was changed so far."""
    states = optimizer.state_dict()["state"]
    return _copies(
        {
            f"{position}/{name}": value
            for position, values in states.items()
            for name, value in values.items()
            if isinstance(value, Tensor)
        }
    )


def _optimizer_state(optimizer: torch.optim.Optimizer, tensors: Tensors) -> dict[str, Any]:
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        position, _, name = key.partition("/")
        states.setdefault(int(position), {})[name] = value.clone()
    return {"state": states, "param_groups": optimizer.state_dict()["param_groups"]}


def _restore_memory(memory: Tensors, stored: Tensors) -> None:
    if memory.keys() != stored.keys():
        raise KeyError(f"it keeps {', '.join(stored) or 'nothing'}, the run {', '.join(memory) or 'nothing'}")
    for key, value in stored.items():
        memory[key].detach().copy_(value)


def _device(training: Training) -> torch.device:
    return next(training.network.parameters()).device
