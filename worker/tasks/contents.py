"""From what science gives to the contents that the database holds, and back: one explicit mapping for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import numpy as np

from models_zoo.loading.load import Left, LoadReport
from models_zoo.normalisation import Normalisation
from models_zoo.norms import NormCount
from service.jobs import contents
from service.jobs.work import FinetuneWork
from worker.science.data.target import SPLITS, Target
from worker.science.evidence.figures import Figures
from worker.science.measures.registry import Score
from worker.science.specs import FinetuneProtocol, Protocol
from worker.science.stage_widths import StageWidths
from worker.science.target_tasks.registry import metric
from worker.science.training.finetune import Finetuned


def inspection_of(target: Target) -> contents.Inspection:
    """The result of a dataset's inspection."""
    labels = target.task.describe(target.labels, target.classes)
    return contents.Inspection(
        images=len(target.images),
        shape=target.images.shape[2:],
        channels=target.channels,
        dtype=str(target.images.dtype),
        value_range=target.value_range,
        splits={name: int((target.split == name).sum()) for name in SPLITS},
        groups=len(np.unique(target.groups)),
        warnings=target.warnings,
        classes=None
        if labels.classes is None
        else tuple(
            contents.ClassShare(label=of_class.label, count=of_class.count, share=of_class.share)
            for of_class in labels.classes
        ),
        targets=None
        if labels.targets is None
        else tuple(
            contents.ColumnSummary(
                column=summary.column,
                lowest=summary.lowest,
                mean=summary.mean,
                deviation=summary.deviation,
                highest=summary.highest,
            )
            for summary in labels.targets
        ),
        spacing=target.spacing,
        empty=None
        if target.empty is None
        else {name: int(target.empty[target.split == name].sum()) for name in SPLITS},
    )


def preflight_of(report: LoadReport, stages: StageWidths) -> contents.Preflight:
    """The result of a checkpoint's preflight."""
    return contents.Preflight(
        tensors=report.tensors,
        loaded=report.loaded,
        percent_loaded=report.percent_loaded,
        reinitialised=tuple(map(_left, report.reinitialised)),
        unused=tuple(map(_left, report.unused)),
        norms=tuple(map(_norms, report.norms)),
        last_encoder_norm=report.last_encoder_norm,
        widths=stages.widths,
        usual_stage=stages.usual,
    )


def _left(left: Left) -> contents.LeftTensor:
    return contents.LeftTensor(key=left.key, reason=left.reason)


def _norms(count: NormCount) -> contents.NormCount:
    return contents.NormCount(
        type=count.type,
        layers=count.layers,
        channels=count.channels,
        affine=count.affine,
        running_statistics=count.running_statistics,
    )


def normalisation_of(stored: contents.Normalisation) -> Normalisation:
    """A card's normalisation, as the zoo takes it; ZooError names a field that is unusable."""
    return Normalisation(
        scale=stored.scale,
        mean=stored.mean,
        std=stored.std,
        clip=stored.clip,
        window=stored.window,
        percentiles=stored.percentiles,
        nonzero=stored.nonzero,
    )


def stored_normalisation(normalisation: Normalisation) -> contents.Normalisation:
    """A card's normalisation, as it is stored and published."""
    return contents.Normalisation(
        scale=normalisation.scale,
        mean=normalisation.mean,
        std=normalisation.std,
        clip=normalisation.clip,
        window=normalisation.window,
        percentiles=normalisation.percentiles,
        nonzero=normalisation.nonzero,
    )


def facts_of(figures: Figures, *, seconds: float) -> contents.EvaluationFacts:
    """The figures of an evaluation that took so many seconds in all."""
    return contents.EvaluationFacts(
        flags=figures.flags,
        crop=figures.crop,
        last_encoder_norm=figures.last_encoder_norm,
        width=figures.width,
        stage=figures.stage,
        feature_width=figures.feature_width,
        excess_width=figures.excess_width,
        feature_scale=figures.feature_scale,
        features_seconds=figures.features_seconds,
        evidence_seconds=figures.evidence_seconds,
        epoch_seconds=figures.epoch_seconds,
        finetune_epoch_seconds=figures.finetune_epoch_seconds,
        null_seconds=figures.null_seconds,
        null_epochs=figures.null_epochs,
        steps=figures.steps,
        epoch_steps=figures.epoch_steps,
        losses=figures.losses or (),
        foreground_images=figures.foreground_images,
        foreground_in_epoch=figures.foreground_in_epoch,
        foreground_in_features=figures.foreground_in_features,
        metrics=figures.metrics or {},
        seconds=seconds,
    )


def record_of(score: Score) -> contents.ScoreRecord:
    """What a score was computed from."""
    return contents.ScoreRecord(figures=score.record)


class _ProtocolFields(TypedDict):
    optimizer: str
    learning_rate: float
    weight_decay: float
    batch_size: int
    crop: tuple[int, ...] | None
    steps: int | None
    seed: int
    voxels_per_class: int
    voxels_total: int
    stage: str | None
    threads: int
    temperature: float
    precision: str
    null_permutations: int
    foreground_crops: float
    feature_width: int | None


def _fields_of(protocol: contents.Protocol | Protocol) -> _ProtocolFields:
    return {
        "optimizer": protocol.optimizer,
        "learning_rate": protocol.learning_rate,
        "weight_decay": protocol.weight_decay,
        "batch_size": protocol.batch_size,
        "crop": protocol.crop,
        "steps": protocol.steps,
        "seed": protocol.seed,
        "voxels_per_class": protocol.voxels_per_class,
        "voxels_total": protocol.voxels_total,
        "stage": protocol.stage,
        "threads": protocol.threads,
        "temperature": protocol.temperature,
        "precision": protocol.precision,
        "null_permutations": protocol.null_permutations,
        "foreground_crops": protocol.foreground_crops,
        "feature_width": protocol.feature_width,
    }


def protocol_of(stored: contents.Protocol) -> Protocol:
    """The protocol of an evaluation, as science takes it."""
    return Protocol(**_fields_of(stored))


def finetune_protocol_of(stored: contents.FinetuneProtocol) -> FinetuneProtocol:
    """The protocol of a finetune run, as science takes it."""
    return FinetuneProtocol(**_fields_of(stored), epochs=stored.epochs, patience=stored.patience)


def default_protocol() -> contents.Protocol:
    """The default protocol of a ranking."""
    return contents.Protocol(**_fields_of(Protocol()))


def default_finetune_protocol() -> contents.FinetuneProtocol:
    """The default protocol of a finetune run."""
    default = FinetuneProtocol()
    return contents.FinetuneProtocol(**_fields_of(default), epochs=default.epochs, patience=default.patience)


def network_card_of(
    work: FinetuneWork, target: Target, finetuned: Finetuned, loaded: LoadReport
) -> contents.NetworkCard:
    """What is needed to use a finetuned network without this service, and how much of it the checkpoint gave."""
    standard = target.standard
    return contents.NetworkCard(
        architecture=work.checkpoint.architecture,
        parameters={**work.checkpoint.parameters, "classes": len(target.classes)},
        normalisation=work.checkpoint.card.normalisation,
        value_range=target.value_range,
        task=target.task.name,
        labels=target.classes,
        head=target.task.head,
        source=work.checkpoint.name,
        source_sha256=work.checkpoint.sha256,
        target_fingerprint=target.fingerprint,
        method=work.method,
        protocol=work.protocol,
        metrics=finetuned.metrics,
        options=work.options,
        partly_loaded=bool(loaded.missing_of_body),
        percent_loaded=loaded.percent_loaded,
        output_mean=None if standard is None else tuple(standard.mean.tolist()),
        output_scale=None if standard is None else tuple(standard.deviation.tolist()),
    )


def result_of(
    finetuned: Finetuned, card: contents.NetworkCard, *, primary: str, network_file: str
) -> contents.FinetuneResult:
    """The result of a finetune run whose network is in this file."""
    return contents.FinetuneResult(
        metrics=finetuned.metrics,
        primary=primary,
        higher_is_better=_directions(finetuned.metrics),
        cases=tuple(finetuned.cases),
        best_epoch=finetuned.best_epoch,
        epochs=tuple(
            contents.EpochResult(loss=epoch.loss, metrics=epoch.metrics, penalty=epoch.penalty)
            for epoch in finetuned.epochs
        ),
        seconds=finetuned.seconds,
        network_file=network_file,
        card=card,
    )


def _directions(metrics: Mapping[str, Mapping[str, float | None]]) -> dict[str, bool]:
    names = {name for of_split in metrics.values() for name in of_split}
    return {name: metric(name).higher_is_better for name in sorted(names)}
