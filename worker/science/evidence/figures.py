"""Figures of one evaluation, to be read beside its scores: durations, sizes, losses and flags."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models_zoo.architecture import Network
from worker.science import flags
from worker.science.candidate import Candidate
from worker.science.data.loader import TargetLoader
from worker.science.data.target import Target
from worker.science.evidence.parts import Evidence
from worker.science.flags import Flag, raised
from worker.science.metrics import finite_metrics

ENOUGH_STEPS = 20  # an epoch of fewer steps is weak evidence
FEW_STEPS = flags.register(
    Flag(
        "few_steps",
        f"The one epoch had fewer than {ENOUGH_STEPS} training steps, so candidates had little time to differ.",
        of_epoch=True,
    )
)
MANY = 1 / 3  # of the images: then the empty ones weigh more than half as much as the others
MANY_EMPTY = flags.register(
    Flag(
        "many_empty",
        "More than a third of the training and validation images have no foreground, so Dice depends on how these "
        "are counted; compare dice with dice_empty_one.",
    )
)
ALIKE = 1.4  # nnU-Net's training scales images by 0.7 to 1.4: a network trained so has seen such sizes
OTHER_SPACING = flags.register(
    Flag(
        "other_spacing",
        f"The spacings of the dataset and of the checkpoint's source differ by more than a factor of {ALIKE} "
        "along some axis. Images are used as they are stored, so structures have another size than in the source.",
    )
)
NO_AFFINE_NORM = flags.register(
    Flag(
        "no_affine_norm",
        "AC-Norm found no norm layer with weight and bias from the checkpoint to recalibrate, so the one epoch "
        "was plain training.",
        of_epoch=True,
    )
)


@dataclass(frozen=True)
class Figures:
    """Durations in seconds, sizes, losses and flags of one evaluation; None where a part was not gathered.

    `last_encoder_norm` and `width` are None too where the encoder has no norm layer or the norm no weight.
    """

    flags: tuple[str, ...]  # names of flags, as in `worker.science.flags`
    crop: tuple[int, ...]  # [D,] H, W of a training crop
    last_encoder_norm: str | None  # module path of the layer that AC-Corr reads
    width: int | None  # channels of that layer
    features_seconds: float  # of the frozen pass
    evidence_seconds: float  # of everything that was gathered
    stage: str | None = None  # the stage that the features come from
    feature_width: int | None = None  # number of features, at most the protocol's `feature_width`
    excess_width: int | None = None  # by how much that number is above the number of samples
    feature_scale: float | None = None  # root mean square of the centred features
    null_seconds: float | None = None  # of all epochs on permuted labels
    null_epochs: int | None = None  # epochs on permuted labels that were trained to their end
    steps: int | None = None  # training steps of the one epoch
    epoch_steps: int | None = None  # training steps of a whole epoch, which the protocol's `steps` may cut
    losses: tuple[float, ...] | None = None  # training loss of each step
    metrics: Mapping[str, float | None] | None = None  # validation metrics after the epoch; None: not defined
    epoch_seconds: float | None = None  # of the one epoch's training
    finetune_epoch_seconds: float | None = None  # of an epoch of a finetune, which trains and validates
    foreground_images: int | None = None  # training images with any foreground; None where labels are not masks
    foreground_in_epoch: int | None = None  # those that showed some in their crop of the one epoch
    foreground_in_features: int | None = None  # those that showed some in their window of the frozen pass


def figures_of(
    candidate: Candidate, loader: TargetLoader, evidence: Evidence, *, frozen_seconds: float, seconds: float
) -> Figures:
    """Figures of the evidence: the frozen pass took `frozen_seconds`, everything that was gathered `seconds`."""
    features, epoch, null = evidence.features, evidence.epoch, evidence.null
    null_seconds = null.seconds if null else 0.0
    empty = loader.data.empty
    masks = empty is not None
    seen = None if features is None else min(features.values.shape[1], evidence.feature_width or sys.maxsize)
    return Figures(
        flags=_flags(candidate, loader.data, evidence),
        crop=loader.crop,
        last_encoder_norm=candidate.network.last_encoder_norm,
        width=_width(candidate.network),
        features_seconds=frozen_seconds,
        evidence_seconds=seconds,
        stage=features.stage if features else None,
        feature_width=seen,
        excess_width=None if features is None or seen is None else max(seen - len(features.values), 0),
        feature_scale=features.scale if features else None,
        null_seconds=null.seconds if null else None,
        null_epochs=len(null.affines) if null else None,
        steps=len(epoch.losses) if epoch else None,
        epoch_steps=len(loader.whole_order(epoch=0)) if epoch else None,
        losses=epoch.losses if epoch else None,
        metrics=finite_metrics(epoch.metrics) if epoch else None,
        epoch_seconds=epoch.seconds if epoch else None,
        finetune_epoch_seconds=seconds - frozen_seconds - null_seconds if epoch else None,
        foreground_images=None if empty is None else int((~empty[loader.data.indices("train")]).sum()),
        foreground_in_epoch=_foreground_in_epoch(loader) if masks and epoch else None,
        foreground_in_features=_foreground_in_features(loader) if masks and features else None,
    )


def _foreground_in_epoch(loader: TargetLoader) -> int:
    shown = (int(index) for batch in loader.training_order(epoch=0) for index in batch)
    return sum(bool(loader.data.labels[index][loader.crop_of(index, epoch=0)].any()) for index in shown)


def _foreground_in_features(loader: TargetLoader) -> int:
    shown = loader.data.indices("train").tolist()
    return sum(bool(loader.data.labels[index][loader.window_of(index)].any()) for index in shown)


def _flags(candidate: Candidate, data: Target, evidence: Evidence) -> tuple[str, ...]:
    trained = evidence.epoch is not None
    few = evidence.epoch is not None and len(evidence.epoch.losses) < ENOUGH_STEPS
    return raised(
        {
            FEW_STEPS: few,
            NO_AFFINE_NORM: trained and not evidence.affines,
            OTHER_SPACING: not alike(candidate.spacing, data.spacing or ()),
            MANY_EMPTY: data.empty is not None and bool(data.empty[data.split != "test"].mean() > MANY),
        }
    )


def alike(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two spacings differ by no more than a factor of `ALIKE` along any axis, or one is not known."""
    if not one or not other:
        return True
    return all(max(a / b, b / a) <= ALIKE for a, b in zip(one, other, strict=True))


def _width(network: Network) -> int | None:
    if network.last_encoder_norm is None:
        return None
    weight = getattr(network.module.get_submodule(network.last_encoder_norm), "weight", None)
    return None if weight is None else weight.numel()
