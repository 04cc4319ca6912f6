"""Figures of one evaluation: what it took and how it went, to be read beside its scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Figures:
    """What is known of one evaluation beside its scores; None where a part was not gathered.

    `last_encoder_norm` and `width` are None too where the encoder has no norm layer or the norm no weight.
    """

    flags: tuple[str, ...]  # names of flags, as in `worker.science.flags`
    crop: tuple[int, ...]  # [D,] H, W of a training crop
    last_encoder_norm: str | None  # module path of the layer that AC-Corr reads
    width: int | None  # channels of that layer
    features_seconds: float  # of the frozen pass
    evidence_seconds: float  # of everything that was gathered
    stage: str | None = None  # the stage that the features come from
    feature_scale: float | None = None  # root mean square of the centred features
    null_seconds: float | None = None  # of all epochs on permuted labels
    null_epochs: int | None = None  # epochs on permuted labels that were trained to their end
    steps: int | None = None  # training steps of the one epoch
    epoch_steps: int | None = None  # training steps of a whole epoch, which the protocol's `steps` may cut
    losses: tuple[float, ...] | None = None  # training loss of each step
    metrics: Mapping[str, float | None] | None = None  # validation metrics after the epoch; None: not defined
    epoch_seconds: float | None = None  # of the one epoch's training
    finetune_epoch_seconds: float | None = None  # of an epoch of a finetune, which trains and validates
