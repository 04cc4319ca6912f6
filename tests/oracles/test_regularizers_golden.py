"""L2-SP's distance and its gradient against recorded runs of a reference implementation."""

from __future__ import annotations

import torch
from torch import nn

from worker.science.training.methods.l2_sp import half_squared_distance

FAMILY = "l2sp-delta-ewc"


def convolutions(case, prefix: str) -> nn.Sequential:
    first = nn.Conv2d(2, 6, kernel_size=3, dtype=torch.float64)
    network = nn.Sequential(first, nn.ReLU(), nn.Conv2d(6, 3, kernel_size=3, dtype=torch.float64))
    network.load_state_dict({key: torch.from_numpy(case.input(f"{prefix}_{key}")) for key in network.state_dict()})
    return network


def test_l2_sp(case):
    source, target = convolutions(case, "source"), convolutions(case, "target")
    value = half_squared_distance(target, {name: w.detach() for name, w in source.named_parameters()})
    value.backward()
    case.check("l2sp_value", value.item())
    for name, weight in target.named_parameters():
        case.check(f"l2sp_grad_{name}", weight.grad)
