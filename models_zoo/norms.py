"""Counting the normalisation layers of a network."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

# _NormBase is torch's parent of every BatchNorm and InstanceNorm
Norm = _NormBase | nn.GroupNorm | nn.LayerNorm | nn.RMSNorm


@dataclass(frozen=True)
class NormCount:
    """One type of normalisation in a network: how many layers and channels, how many have what."""

    type: str
    layers: int
    channels: int
    affine: int  # layers with learned weights
    running_statistics: int  # layers that keep a running mean and variance


def norm_census(module: nn.Module) -> tuple[NormCount, ...]:
    """Every normalisation layer inside `module`, counted by type, in order of first appearance."""
    by_type: dict[str, list[Norm]] = {}
    for layer in module.modules():
        if isinstance(layer, Norm):
            by_type.setdefault(type(layer).__name__, []).append(layer)
    return tuple(_counted(name, layers) for name, layers in by_type.items())


def _counted(name: str, layers: list[Norm]) -> NormCount:
    return NormCount(
        type=name,
        layers=len(layers),
        channels=sum(_channels(layer) for layer in layers),
        affine=sum(getattr(layer, "weight", None) is not None for layer in layers),
        running_statistics=sum(getattr(layer, "running_mean", None) is not None for layer in layers),
    )


def _channels(layer: Norm) -> int:
    if isinstance(layer, _NormBase):
        return layer.num_features
    if isinstance(layer, nn.GroupNorm):
        return layer.num_channels
    return math.prod(layer.normalized_shape)
