"""What a measure may look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Features:
    """Frozen features of one stage over the training split, as every measure of section A sees them.

    values: (N, D) float32, already divided by `scale`; labels: (N,) int64, as stored in the dataset;
    groups: (N,) int64, the image (or patient) each row came from; scale: the root mean square of the
    centred features before the division.
    """

    values: Tensor
    labels: Tensor
    groups: Tensor
    scale: float
    stage: str


@dataclass(frozen=True)
class Affines:
    """A norm layer's affine parameters before (source) and after the epoch (target), each (K,)."""

    source_weight: Tensor
    source_bias: Tensor
    target_weight: Tensor
    target_bias: Tensor
    eps: float = 1e-5


@dataclass(frozen=True)
class Epoch:
    """What the one AC-Norm epoch showed: training loss a step, validation metrics after it, its cost."""

    losses: tuple[float, ...]
    metrics: Mapping[str, float]  # metric name -> value, on the validation split
    seconds: float


@dataclass(frozen=True)
class Evidence:
    """Everything one evaluation gathered about one candidate on one target."""

    task: str  # "classification" or "segmentation"
    features: Features
    affines: Mapping[str, Affines]  # norm layer's module path -> affines, in network order
    last_encoder_norm: str | None  # None: the network has no such BatchNorm
    temperature: float  # of Eq. 7
    epoch: Epoch
