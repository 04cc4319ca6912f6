"""What a finetune method is, and how one file adds one."""

from __future__ import annotations

from collections.abc import Callable, Collection
from copy import deepcopy
from dataclasses import dataclass

from torch import nn

from models_zoo.architecture import Network
from models_zoo.registry import Registry
from worker.science.specs import Protocol
from worker.science.training.objective import Objective, Stream
from worker.science.training.options import Option, Options


@dataclass(frozen=True)
class Start:
    """What a method begins with: the loaded network, with a fresh head for the target's classes.

    `fresh` are the paths of modules without source weights, the head among them. `objective` is the target
    task's loss and nothing else, `stream` the batches that training will see.
    """

    network: Network
    fresh: Collection[str]
    protocol: Protocol
    options: Options
    objective: Objective
    stream: Stream

    def from_source(self, name: str) -> bool:
        """Whether the parameter or buffer of this dotted name was loaded from the source checkpoint."""
        owner = name.rpartition(".")[0]
        return not any(owner == path or owner.startswith(f"{path}.") for path in self.fresh)


def plain_objective(start: Start) -> Objective:
    """Train for the target task's loss alone, with the network as it is."""
    return start.objective


@dataclass(frozen=True)
class Method:
    """How a network is finetuned.

    prepare(start): changes the network in place where the method needs other layers, and returns what is
    trained for: the given objective with the method's penalties, parameter groups, phases and hooks.
    deliver(network): a plain copy with the architecture's own keys, outputs unchanged in evaluation mode.
    usual: the method that is used when none is named; one method has it.
    """

    name: str
    summary: str  # what menus show
    prepare: Callable[[Start], Objective] = plain_objective
    deliver: Callable[[nn.Module], nn.Module] = deepcopy
    options: tuple[Option, ...] = ()
    usual: bool = False


_METHODS: Registry[Method] = Registry("finetune method", "worker.science.training.methods")


def register(method: Method) -> Method:
    """Add a method under its name."""
    return _METHODS.add(method.name, method)


def methods() -> dict[str, Method]:
    """Every registered method by name."""
    return _METHODS.all()


def usual_method() -> Method:
    """The method that is used when none is named."""
    (usual,) = (method for method in methods().values() if method.usual)
    return usual
