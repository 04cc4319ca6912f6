"""The parts of the evidence; each is gathered only when a measure needs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from torch import Tensor

from worker.science.errors import ScienceError
from worker.science.target_tasks.registry import TargetTask

Gathered = TypeVar("Gathered")
Shared = TypeVar("Shared")


class Part(StrEnum):
    """A part of the evidence that a measure can need; each is named like its field of `Evidence`."""

    FEATURES = "features"
    SOURCE_HEAD = "source_head"
    STAGES = "stages"
    AFFINES = "affines"
    EPOCH = "epoch"
    NULL = "null"  # takes an epoch for every permutation: gathered for measures that somebody asked for by name


USUAL_PARTS = frozenset(Part) - {Part.NULL}


@dataclass(frozen=True)
class Features:
    """Frozen features of one stage over the training split, as every measure of section A sees them.

    values: (N, D) float32, already divided by `scale`; labels: (N,) int64 classes, (N, L) int64 of 0 and 1
    (multilabel), or (N, T) float32 (regression), standardised, so that units change no score; groups: (N,)
    int64, the image (or patient) each row came from; scale: the root mean square of the centred features
    before the division. After a projection on principal components D is their number, and `projected_from` what it
    was.
    """

    values: Tensor
    labels: Tensor
    groups: Tensor
    scale: float
    stage: str
    projected_from: int | None = None


@dataclass(frozen=True)
class SourceHead:
    """Output of the checkpoint's own head on the training split: one row an image, or one a sampled voxel.

    probabilities: (N, C_s) float64, rows summing to 1; None when the head names no classes, with the
    reason. labels: (N,) int64 of the target, in the order of `Features`.
    """

    probabilities: Tensor | None
    labels: Tensor
    reason: str | None = None


@dataclass(frozen=True)
class Stage:
    """Frozen features of one decoder stage at voxels of a few training images (segmentation).

    values: (N, D) float32, divided by `scale` as in `Features`; labels: (N,) int64, 0 the background;
    images: (N,) int64, the image each row came from.
    """

    name: str
    values: Tensor
    labels: Tensor
    images: Tensor
    scale: float


@dataclass(frozen=True)
class Affines:
    """A norm layer's affine parameters before (source) and after the epoch (target), each (K,).

    norm: the plain layer's type as torch names it; AC-Norm's paper knows BatchNorm only.
    """

    source_weight: Tensor
    source_bias: Tensor
    target_weight: Tensor
    target_bias: Tensor
    eps: float = 1e-5
    norm: str = "BatchNorm2d"

    @property
    def beyond_paper(self) -> bool:
        """Whether the layer is of a kind that the paper doesn't treat."""
        return not self.norm.startswith("BatchNorm")


@dataclass(frozen=True)
class Epoch:
    """The one AC-Norm epoch: its training loss at each step, the validation metrics after it, its duration."""

    losses: tuple[float, ...]
    metrics: Mapping[str, float]  # metric name -> value, on the validation split
    seconds: float


@dataclass(frozen=True)
class NullEpochs:
    """The same epoch, repeated with the labels permuted among the training images.

    affines: of every repetition, as `Evidence.affines`; fewer than asked for, with the reason, when one failed.
    """

    affines: tuple[Mapping[str, Affines], ...]
    seconds: float
    reason: str | None = None


@dataclass(frozen=True)
class Evidence:
    """What one evaluation gathered about one candidate on one target; a part that no measure needs is None."""

    task: TargetTask
    features: Features | None = None
    affines: Mapping[str, Affines] | None = None  # norm layer's module path -> affines, in network order
    last_encoder_norm: str | None = None  # None: the encoder has no norm layer
    temperature: float = 1.0  # of Eq. 7
    epoch: Epoch | None = None
    source_head: SourceHead | None = None
    stages: tuple[Stage, ...] | None = None  # from coarse to fine; empty: the network has no decoder
    unconverted: Mapping[str, str] = field(default_factory=dict)  # path of a norm without `affines` -> why
    null: NullEpochs | None = None
    feature_width: int | None = None  # the protocol's; None or 0: every candidate's own
    _known: dict[Callable[[Evidence], Any], Any] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def once(self, compute: Callable[[Evidence], Shared]) -> Shared:
        """What this function gives for this evidence, computed once for all measures that ask for it."""
        if compute not in self._known:
            self._known[compute] = compute(self)
        known: Shared = self._known[compute]
        return known


def gathered(value: Gathered | None, part: Part) -> Gathered:
    """The part's value; ScienceError when it was not gathered, that is when the measure did not name it."""
    if value is None:
        raise ScienceError(f"evidence: {part} was not gathered; name it in the measure's `needs`")
    return value
