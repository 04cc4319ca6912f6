"""One evaluation: a frozen pass, one AC-Norm epoch, and everything that its measures look at."""

from __future__ import annotations

from collections.abc import Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter

from worker.science.acnorm.convert import affines, convert, unconverted
from worker.science.candidate import Candidate, give_fresh_head
from worker.science.computing import computing
from worker.science.data.loader import TargetLoader, loader_of
from worker.science.data.target import Target
from worker.science.errors import NotApplicableError
from worker.science.evidence.at_voxels import voxels_of
from worker.science.evidence.decoder_stages import StageCollector
from worker.science.evidence.features import FeatureCollector
from worker.science.evidence.figures import Figures, figures_of
from worker.science.evidence.forward_pass import Collector, frozen_pass
from worker.science.evidence.one_epoch import kept_state, null_epochs, one_epoch
from worker.science.evidence.parts import (
    USUAL_PARTS,
    Affines,
    Epoch,
    Evidence,
    Features,
    NullEpochs,
    Part,
    SourceHead,
    Stage,
)
from worker.science.evidence.source_head import HeadCollector
from worker.science.specs import Progress, Protocol
from worker.science.training.validation import validate


@dataclass(frozen=True)
class Gathered:
    """The evidence, and the figures of how it came about."""

    evidence: Evidence
    figures: Figures


@dataclass(frozen=True)
class FrozenParts:
    """The parts that the frozen pass gives."""

    features: Features | None = None
    source_head: SourceHead | None = None
    stages: tuple[Stage, ...] | None = None


@dataclass(frozen=True)
class EpochParts:
    """The parts that the AC-Norm epoch gives, and the paths of norms it left as they were with the reason."""

    affines: Mapping[str, Affines]
    unconverted: Mapping[str, str]
    epoch: Epoch
    null: NullEpochs | None


def gather(
    candidate: Candidate,
    target: Target,
    *,
    protocol: Protocol,
    progress: Progress,
    needs: Set[Part] = USUAL_PARTS,
) -> Gathered:
    """What `needs` names: a frozen pass of the source network, then one AC-Norm epoch from its weights.

    `Part.NULL` repeats that epoch on permuted labels: it takes the protocol's `null_permutations` epochs more.
    """
    loader = loader_of(target, candidate, protocol)
    start = perf_counter()
    with computing(protocol):
        frozen = _frozen_parts(candidate, loader, needs=needs, progress=progress)
        frozen_seconds = perf_counter() - start
        trained = None
        if needs & {Part.AFFINES, Part.EPOCH, Part.NULL}:
            trained = _epoch_parts(candidate, loader, needs=needs, progress=progress)
    evidence = _evidence(candidate, loader, frozen=frozen, trained=trained)
    seconds = perf_counter() - start
    return Gathered(
        evidence, figures_of(candidate, loader, evidence, frozen_seconds=frozen_seconds, seconds=seconds)
    )


def _frozen_parts(
    candidate: Candidate, loader: TargetLoader, *, needs: Set[Part], progress: Progress
) -> FrozenParts:
    network = candidate.network
    per_voxel = loader.data.task.per_voxel
    voxels = voxels_of(loader) if per_voxel and needs & {Part.FEATURES, Part.SOURCE_HEAD} else None
    features = FeatureCollector(network, loader, voxels) if Part.FEATURES in needs else None
    head = HeadCollector(candidate, loader, voxels) if Part.SOURCE_HEAD in needs else None
    stages = StageCollector(network, loader) if Part.STAGES in needs and per_voxel else None
    collectors: list[Collector] = [collector for collector in (features, head, stages) if collector is not None]
    if collectors:
        frozen_pass(network, loader, collectors=collectors, progress=progress)
    return FrozenParts(
        features=features.compute() if features else None,
        source_head=head.compute() if head else None,
        stages=stages.compute() if stages else None,
    )


def _epoch_parts(
    candidate: Candidate, loader: TargetLoader, *, needs: Set[Part], progress: Progress
) -> EpochParts:
    give_fresh_head(candidate, outputs=len(loader.data.classes), seed=loader.protocol.seed)
    left = _convert(candidate, temperature=loader.protocol.temperature)
    start = kept_state(candidate) if Part.NULL in needs else None
    epoch = _epoch(candidate, loader, progress=progress)
    moved = affines(candidate.network.module)
    null = None
    if start is not None:
        compared = candidate.network.last_encoder_norm in moved  # else there is nothing that a null is for
        null = NullEpochs((), 0.0)
        if compared:
            null = null_epochs(candidate, loader, start=start, progress=progress)
    return EpochParts(moved, left, epoch, null)


def _convert(candidate: Candidate, *, temperature: float) -> dict[str, str]:
    """Put AC-Norm in; the norms left as they were, and why. A network without any trains as it is."""
    module, fresh = candidate.network.module, candidate.report.reinitialised_modules()
    left = unconverted(module, skip=fresh)
    with suppress(NotApplicableError):
        convert(module, temperature=temperature, skip=fresh)
    return left


def _epoch(candidate: Candidate, loader: TargetLoader, *, progress: Progress) -> Epoch:
    start = perf_counter()
    losses = one_epoch(candidate, loader, lambda done, total: progress("epoch", done, total))
    seconds = perf_counter() - start
    validation = validate(
        candidate.network.module,
        loader,
        loader.data.indices("val"),
        lambda done, total: progress("validation", done, total),
    )
    return Epoch(tuple(losses), validation.metrics, seconds)


def _evidence(
    candidate: Candidate, loader: TargetLoader, *, frozen: FrozenParts, trained: EpochParts | None
) -> Evidence:
    return Evidence(
        task=loader.data.task,
        features=frozen.features,
        affines=trained.affines if trained else None,
        last_encoder_norm=candidate.network.last_encoder_norm,
        temperature=loader.protocol.temperature,
        epoch=trained.epoch if trained else None,
        source_head=frozen.source_head,
        stages=frozen.stages,
        unconverted=trained.unconverted if trained else {},
        null=trained.null if trained else None,
        feature_width=loader.protocol.feature_width,
    )
