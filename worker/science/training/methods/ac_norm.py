"""AC-Norm finetuning: norms recalibrated by its source affines (Eq. 6-9), delivered folded."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from worker.science.acnorm.convert import convert, fold
from worker.science.specs import Protocol
from worker.science.training.method import Method, register


def prepare(network: nn.Module, fresh: Collection[str], protocol: Protocol) -> None:
    """Convert every norm that has source affines; NotApplicableError where there is none."""
    convert(network, temperature=protocol.temperature, skip=tuple(fresh))


AC_NORM = register(Method("ac_norm", "AC-Norm (Eq. 6-9), folded into plain norms", prepare, fold))
