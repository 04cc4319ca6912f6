"""What a finetune method is, and how one file adds one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Collection
from dataclasses import dataclass

from torch import nn

from worker.science.specs import Protocol


@dataclass(frozen=True)
class Method:
    """How a network is finetuned: what is done to it before training, and how it is delivered after.

    prepare(network, fresh, protocol): `fresh` are the paths of modules without source weights; in place.
    deliver(network): a plain network with the architecture's own keys, outputs unchanged in evaluation mode.
    """

    name: str
    summary: str
    prepare: Callable[[nn.Module, Collection[str], Protocol], None]
    deliver: Callable[[nn.Module], nn.Module]


_REGISTRY: dict[str, Method] = {}


def register(method: Method) -> Method:
    """Add a method under its name."""
    _REGISTRY[method.name] = method
    return method


def methods() -> dict[str, Method]:
    """Every registered method by name (scans `worker.science.training`)."""
    package = importlib.import_module("worker.science.training.methods")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return dict(_REGISTRY)
