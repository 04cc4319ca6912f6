"""Vanilla finetuning: every weight, no change to the network."""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy

from torch import nn

from worker.science.finetune.registry import Method, register
from worker.science.specs import Protocol


def prepare(network: nn.Module, fresh: Collection[str], protocol: Protocol) -> None:
    """Nothing to prepare."""


VANILLA = register(Method("vanilla", "all weights, nothing added", prepare, deepcopy))
