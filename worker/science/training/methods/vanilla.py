"""Vanilla finetuning: every weight, no change to the network."""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy

from torch import nn

from worker.science.specs import Protocol
from worker.science.training.method import Method, register


def prepare(network: nn.Module, fresh: Collection[str], protocol: Protocol) -> None:
    """Nothing to prepare."""


VANILLA = register(Method("vanilla", "all weights, nothing added", prepare, deepcopy))
