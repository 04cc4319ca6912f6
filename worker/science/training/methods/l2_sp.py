"""L2-SP finetuning (Li et al., ICML 2018): weights are pulled to their source values, new ones to zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from worker.science.training.method import Method, Start, register
from worker.science.training.objective import Objective, Step
from worker.science.training.options import Option

OPTIONS = (
    Option("alpha", 0.1, "Strength of the pull of source weights to their source values.", lowest=0.0),
    Option("beta", 0.01, "Strength of the pull of newly initialised weights to zero.", lowest=0.0),
)


def half_squared_distance(network: nn.Module, origin: Mapping[str, Tensor]) -> Tensor:
    """1/2 ||w - w0||^2, a scalar, over the parameters that `origin` (w0) names; buffers are no parameters."""
    squares = [(network.get_parameter(name) - at).square().sum() for name, at in origin.items()]
    return torch.stack(squares).sum() / 2


def pull(step: Step, *, origin: Mapping[str, Tensor], strength: float) -> Tensor:
    """strength/2 ||w - w0||^2, a scalar; its gradient is strength (w - w0)."""
    return strength * half_squared_distance(step.network, origin)


def prepare(start: Start) -> Objective:
    """Add both pulls; a pull of strength 0, or over no weight, is left out, so that it changes no bit."""
    weights = dict(start.network.module.named_parameters())
    source = {name: weight.detach().clone() for name, weight in weights.items() if start.from_source(name)}
    zero = {name: torch.zeros_like(weight) for name, weight in weights.items() if name not in source}
    pulls = ((source, float(start.options["alpha"])), (zero, float(start.options["beta"])))
    penalties = tuple(partial(pull, origin=at, strength=strength) for at, strength in pulls if strength and at)
    return replace(start.objective, penalties=penalties)


L2_SP = register(Method("l2_sp", "all weights, pulled to their source values (L2-SP)", prepare, options=OPTIONS))
