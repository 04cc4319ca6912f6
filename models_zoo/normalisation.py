"""The input scaling a checkpoint was trained with, and bringing a target's images to it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models_zoo.errors import ZooError

SCALES = ("unit", "zscore", "none")
CONSTANT = 1e-9  # a deviation this small beside the values themselves is rounding, not content


@dataclass(frozen=True)
class Normalisation:
    """First `scale`, then `(x - mean) / std` per channel where those are given.

    "unit" maps the dataset's value range to 0..1, "zscore" gives each channel of each image mean 0 and
    deviation 1, "none" leaves the values as they are. ZooError on any other scale or an unusable mean or std.
    """

    scale: str = "unit"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ZooError(f"normalisation.scale: {self.scale!r} is none of {', '.join(SCALES)}")
        if not all(math.isfinite(value) for value in self.mean):
            raise ZooError(f"normalisation.mean: {self.mean} must be finite")
        if not all(0 < value < math.inf for value in self.std):
            raise ZooError(f"normalisation.std: {self.std} must be above 0 and finite")


def normalise(images: Tensor, normalisation: Normalisation, *, value_range: tuple[float, float]) -> Tensor:
    """`images` (B, C, *space) of any real type as the checkpoint expects them, float32 of the same shape.

    `value_range` is the lowest and highest value the dataset's type or scanner allows, (0, 255) for uint8;
    only "unit" uses it. ZooError when it is empty, or when mean or std don't have one value per channel.
    """
    x = images.to(torch.float64)  # so that a constant image leaves no rounding for zscore to blow up
    if normalisation.scale == "unit":
        x = _unit(x, value_range)
    elif normalisation.scale == "zscore":
        x = _zscore(x)
    if normalisation.mean:
        x = x - _per_channel("mean", normalisation.mean, x)
    if normalisation.std:
        x = x / _per_channel("std", normalisation.std, x)
    return x.to(torch.float32)


def _unit(x: Tensor, value_range: tuple[float, float]) -> Tensor:
    low, high = value_range
    if not low < high:
        raise ZooError(f"value_range: {value_range} is empty; give the lowest and the highest possible value")
    return (x - low) / (high - low)


def _zscore(x: Tensor) -> Tensor:
    flat = x.flatten(2)  # (B, C, voxels)
    std, mean = torch.std_mean(flat, dim=2, correction=0, keepdim=True)
    constant = std <= CONSTANT * flat.abs().amax(dim=2, keepdim=True)  # false for NaN, which must stay seen
    scaled = torch.where(constant, 0.0, (flat - mean) / torch.where(constant, 1.0, std))
    return scaled.reshape(x.shape)


def _per_channel(field: str, values: tuple[float, ...], x: Tensor) -> Tensor:
    channels = x.shape[1]
    if len(values) != channels:
        raise ZooError(
            f"normalisation.{field}: {len(values)} values for {channels} channels; give one per channel"
        )
    return torch.tensor(values, dtype=x.dtype, device=x.device).reshape(-1, *[1] * (x.ndim - 2))
