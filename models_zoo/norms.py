"""Making and counting normalisation layers."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from monai.networks.layers.utils import get_norm_layer
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from models_zoo.parameters import count, one_of

# _NormBase is torch's parent of every BatchNorm and InstanceNorm
Norm = _NormBase | nn.GroupNorm | nn.LayerNorm | nn.RMSNorm
KINDS = ("batch", "group", "instance")  # what an architecture's `norm` may be; each with affine parameters
ALIKE = {"instance": "group"}  # norms with the same tensors
GROUPS = 8  # of GroupNorm, as in MONAI's networks


@dataclass(frozen=True)
class NormChoice:
    """What an architecture's layers are normalised by: `norm` of KINDS, `groups` for "group" only.

    ValueError for any other value. No tensor shows the number of groups: give the source's own.
    """

    norm: str
    groups: int

    def __post_init__(self) -> None:
        one_of("norm", self.norm, KINDS)
        count("groups", self.groups)

    @property
    def in_monai(self) -> tuple[str, dict[str, Any]]:
        """The norm as MONAI's networks take it: a name and its options."""
        return self.norm, {"num_groups": self.groups} if self.norm == "group" else {"affine": True}

    def layer(self, spatial_dims: int, channels: int) -> nn.Module:
        """One norm over (B, channels, *space); ValueError when `groups` doesn't divide the channels."""
        made: nn.Module = get_norm_layer(self.in_monai, spatial_dims, channels)
        return made


def norm_shown(keys: Collection[str], layer: str) -> str:
    """Which of KINDS the tensors of one norm layer, at its dotted path, show.

    Only BatchNorm keeps running statistics here. InstanceNorm and GroupNorm have the same tensors; this says
    "instance" for both. LookupError when the layer has no weight.
    """
    if f"{layer}.weight" not in keys:
        raise LookupError(f"{layer} has no weight")
    return "batch" if f"{layer}.running_mean" in keys else "instance"


@dataclass(frozen=True)
class NormCount:
    """One type of normalisation in a network: how many layers and channels, how many have what."""

    type: str
    layers: int
    channels: int
    affine: int  # layers with learned weight and bias
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
        affine=sum(_is_affine(layer) for layer in layers),
        running_statistics=sum(getattr(layer, "running_mean", None) is not None for layer in layers),
    )


def _is_affine(layer: Norm) -> bool:
    return all(getattr(layer, name, None) is not None for name in ("weight", "bias"))


def _channels(layer: Norm) -> int:
    if isinstance(layer, _NormBase):
        return layer.num_features
    if isinstance(layer, nn.GroupNorm):
        return layer.num_channels
    return math.prod(layer.normalized_shape)
