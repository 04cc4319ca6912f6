"""The input scaling a checkpoint was trained with, and bringing a target's images to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models_zoo.errors import ZooError

SCALES = ("unit", "zscore", "none")
LIMITS = ("clip", "window", "percentiles")  # fields of which a card gives at most one
CONSTANT = 1e-9  # a deviation this small beside the values themselves is rounding, not content


@dataclass(frozen=True)
class Normalisation:
    """Values are limited, then scaled, then `(x - mean) / std` per channel where those are given.

    Limits, at most one of: `clip` (lowest, highest) in the values as stored, Hounsfield units in CT; `window`
    (level, width) as a CT viewer shows it, from level - width/2 to level + width/2; `percentiles` (lower, upper)
    of each channel of each image.
    `scale`: "unit" maps the limits to 0..1, and without limits the dataset's value range; "zscore" gives each
    channel of each image mean 0 and deviation 1; "none" leaves the values as they are.
    `nonzero`: percentiles and z-score look at the voxels that are not stored as 0, and those that are stay 0,
    as the background of a skull-stripped MRI.
    ZooError names a field that is unusable.
    """

    scale: str = "unit"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    clip: tuple[float, ...] = ()
    window: tuple[float, ...] = ()
    percentiles: tuple[float, ...] = ()
    nonzero: bool = False

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ZooError(f"normalisation.scale: {self.scale!r} is none of {', '.join(SCALES)}")
        if not all(math.isfinite(value) for value in self.mean):
            raise ZooError(f"normalisation.mean: {self.mean} must be finite")
        if not all(0 < value < math.inf for value in self.std):
            raise ZooError(f"normalisation.std: {self.std} must be above 0 and finite")
        self._check_limits()

    def _check_limits(self) -> None:
        given = [name for name in LIMITS if getattr(self, name)]
        if len(given) > 1:
            raise ZooError(f"normalisation.{given[1]}: {given[0]} is given too; give one of them")
        for name in given:
            values = getattr(self, name)
            if len(values) != 2 or not all(map(math.isfinite, values)):
                raise ZooError(f"normalisation.{name}: {values} must be two finite numbers")
        if self.clip and not self.clip[0] < self.clip[1]:
            raise ZooError(f"normalisation.clip: {self.clip} must rise: the lowest value, then the highest")
        if self.window and not self.window[1] > 0:
            raise ZooError(f"normalisation.window: {self.window} must be a level and a width above 0")
        if self.percentiles and not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ZooError(f"normalisation.percentiles: {self.percentiles} must rise within 0 to 100")
        if self.nonzero and not (self.percentiles or self.scale == "zscore"):
            raise ZooError("normalisation.nonzero: needs the scale zscore, or percentiles, to look at voxels for")

    @property
    def limits(self) -> tuple[float, float] | None:
        """The lowest and highest value, where the card gives them for every image alike."""
        if self.window:
            level, width = self.window
            return level - width / 2, level + width / 2
        return (self.clip[0], self.clip[1]) if self.clip else None


@dataclass(frozen=True)
class Scaling:
    """What one image is brought to the checkpoint's scale by, from statistics of the whole image.

    Every tensor has one float64 value a channel, (C, 1, ...). Any part of the image is scaled by the same numbers.
    """

    lowest: Tensor
    highest: Tensor
    shift: Tensor
    divisor: Tensor
    mean: Tensor
    std: Tensor
    keep_zeros: bool

    def of(self, values: Tensor) -> Tensor:
        """Values (C, *space) of the image, or of a part of it, as the checkpoint expects them, float32."""
        stored = values.to(torch.float64)  # so that a constant image leaves no rounding for zscore to blow up
        x = (stored.clamp(self.lowest, self.highest) - self.shift) / self.divisor
        x = (x - self.mean) / self.std
        if self.keep_zeros:
            x = torch.where(stored == 0, 0.0, x)
        return x.to(torch.float32)


def scaling_of(image: Tensor, normalisation: Normalisation, *, value_range: tuple[float, float]) -> Scaling:
    """The scaling of one whole image (C, *space) of any real type.

    `value_range` is the lowest and highest value the dataset's type or scanner allows, (0, 255) for uint8;
    only "unit" without limits uses it. ZooError when it is empty, or when mean or std don't have one value per
    channel.
    """
    if not value_range[0] < value_range[1]:
        raise ZooError(f"value_range: {value_range} is empty; give the lowest and the highest possible value")
    steps = [_steps(channel, normalisation, value_range) for channel in image.flatten(1)]
    lowest, highest, shift, divisor = zip(*steps, strict=True)
    return Scaling(
        lowest=_columns(lowest, image),
        highest=_columns(highest, image),
        shift=_columns(shift, image),
        divisor=_columns(divisor, image),
        mean=_columns(_per_channel("mean", normalisation.mean, len(image), otherwise=0.0), image),
        std=_columns(_per_channel("std", normalisation.std, len(image), otherwise=1.0), image),
        keep_zeros=normalisation.nonzero,
    )


def normalise(images: Tensor, normalisation: Normalisation, *, value_range: tuple[float, float]) -> Tensor:
    """Whole images (B, C, *space) as the checkpoint expects them, float32 of the same shape; see `scaling_of`."""
    return torch.stack([scaling_of(image, normalisation, value_range=value_range).of(image) for image in images])


def _steps(
    channel: Tensor, normalisation: Normalisation, value_range: tuple[float, float]
) -> tuple[float, float, float, float]:
    """Lowest and highest value of a channel (V,), what is subtracted, and what it is divided by then."""
    values = _looked_at(channel, normalisation)
    lowest, highest = _limits(values, normalisation)
    if normalisation.scale == "none":
        return lowest, highest, 0.0, 1.0
    if normalisation.scale == "unit":
        low, high = value_range if math.isinf(highest) else (lowest, highest)
        return lowest, highest, low, (high - low) or math.inf
    return lowest, highest, *_moments(values.clamp(lowest, highest))


def _looked_at(channel: Tensor, normalisation: Normalisation) -> Tensor:
    """The values whose statistics are used, float64, in the order of the image whatever its layout in memory."""
    if not (normalisation.percentiles or normalisation.scale == "zscore"):
        return channel[:0]
    values = channel.to(torch.float64).contiguous()
    return values[values != 0] if normalisation.nonzero else values


def _limits(values: Tensor, normalisation: Normalisation) -> tuple[float, float]:
    if normalisation.percentiles:
        lower, upper = np.percentile(values.numpy(), normalisation.percentiles) if len(values) else (0.0, 0.0)
        return float(lower), float(upper)
    return normalisation.limits or (-math.inf, math.inf)


def _moments(values: Tensor) -> tuple[float, float]:
    """Mean and standard deviation; an infinite deviation for a constant channel, which so becomes 0."""
    if not len(values):
        return 0.0, 1.0
    std, mean = torch.std_mean(values, correction=0)
    constant = bool(std <= CONSTANT * values.abs().max())  # false for NaN, which must stay seen
    return float(mean), math.inf if constant else float(std)


def _per_channel(field: str, values: Sequence[float], channels: int, *, otherwise: float) -> Sequence[float]:
    if values and len(values) != channels:
        raise ZooError(
            f"normalisation.{field}: {len(values)} values for {channels} channels; give one per channel"
        )
    return values or [otherwise] * channels


def _columns(values: Sequence[float], image: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, device=image.device).reshape(-1, *[1] * (image.ndim - 1))
