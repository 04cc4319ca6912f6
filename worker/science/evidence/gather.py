"""One evaluation: a frozen pass, one AC-Norm epoch, and everything that its measures look at."""

from __future__ import annotations

import math
from collections.abc import Set
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from models_zoo.architecture import Network
from worker.science.acnorm.convert import affines, convert, unconverted
from worker.science.candidate import Candidate, give_fresh_head
from worker.science.data.sampling import sample_voxels
from worker.science.errors import NotApplicableError
from worker.science.evidence.decoder_stages import StageRows
from worker.science.evidence.features import FeatureRows
from worker.science.evidence.forward_pass import frozen_pass
from worker.science.evidence.one_epoch import kept_state, null_epochs, one_epoch
from worker.science.evidence.parts import (
    AFFINES,
    EPOCH,
    FEATURES,
    NULL,
    SOURCE_HEAD,
    STAGES,
    USUAL_PARTS,
    Epoch,
    Evidence,
    Features,
    NullEpochs,
)
from worker.science.evidence.source_head import HeadRows
from worker.science.specs import Progress
from worker.science.training.loop import compute_threads
from worker.science.training.validation import validate

FEW_STEPS = 20  # an epoch of fewer steps says little


@dataclass(frozen=True)
class Gathered:
    """The evidence, and what the ranked list tells of how it came about."""

    evidence: Evidence
    facts: dict[str, Any]


def gather(candidate: Candidate, progress: Progress, *, needs: Set[str] = frozenset(USUAL_PARTS)) -> Gathered:
    """What `needs` names: a frozen pass of the source network, then one AC-Norm epoch from its weights.

    `null` repeats that epoch on permuted labels: it takes the protocol's `null_permutations` epochs more.
    """
    network, loader = candidate.network, candidate.loader
    start = perf_counter()
    with compute_threads(loader.protocol.threads):
        parts = _look(candidate, needs, progress)
        looking = perf_counter() - start
        if needs & {AFFINES, EPOCH, NULL}:
            parts |= _adapt(candidate, needs, progress)
    evidence = Evidence(
        task=loader.data.task,
        last_encoder_norm=network.last_encoder_norm,
        temperature=loader.protocol.temperature,
        **parts,
    )
    return Gathered(evidence, _facts(candidate, evidence, looking, perf_counter() - start))


def _look(candidate: Candidate, needs: Set[str], progress: Progress) -> dict[str, Any]:
    """The parts that the frozen pass gives."""
    network, loader = candidate.network, candidate.loader
    segmentation = loader.data.task == "segmentation"
    voxels = sample_voxels(loader, loader.data.indices("train")) if segmentation else None
    wanted: dict[str, FeatureRows | HeadRows | StageRows] = {}
    if FEATURES in needs:
        wanted[FEATURES] = FeatureRows(network, loader, voxels)
    if SOURCE_HEAD in needs:
        wanted[SOURCE_HEAD] = HeadRows(candidate, voxels)
    if STAGES in needs and segmentation:
        wanted[STAGES] = StageRows(network, loader)
    if wanted:
        frozen_pass(network, loader, list(wanted.values()), progress)
    return {name: taker.gathered() for name, taker in wanted.items()}


def _adapt(candidate: Candidate, needs: Set[str], progress: Progress) -> dict[str, Any]:
    """The parts that the AC-Norm epoch gives, and its repetitions on permuted labels."""
    give_fresh_head(candidate)
    left = _convert(candidate)
    start = kept_state(candidate) if NULL in needs else None
    epoch = _epoch(candidate, progress)
    moved = affines(candidate.network.module)
    parts: dict[str, Any] = {AFFINES: moved, EPOCH: epoch, "unconverted": left}
    if start is not None:
        compared = candidate.network.last_encoder_norm in moved  # else there is nothing that a null is for
        parts[NULL] = null_epochs(candidate, start, progress) if compared else NullEpochs((), 0.0)
    return parts


def _convert(candidate: Candidate) -> dict[str, str]:
    """Put AC-Norm in; the norms left as they were, and why. A network without any trains as it is."""
    module, fresh = candidate.network.module, candidate.report.reinitialised_modules()
    left = unconverted(module, skip=fresh)
    with suppress(NotApplicableError):
        convert(module, temperature=candidate.loader.protocol.temperature, skip=fresh)
    return left


def _epoch(candidate: Candidate, progress: Progress) -> Epoch:
    module, loader = candidate.network.module, candidate.loader
    start = perf_counter()
    losses = one_epoch(candidate, loader, lambda done, total: progress("epoch", done, total))
    seconds = perf_counter() - start
    validation = loader.data.indices("val")
    found = validate(module, loader, validation, lambda done, total: progress("validation", done, total))
    return Epoch(tuple(losses), found.metrics, seconds)


def _facts(candidate: Candidate, evidence: Evidence, looking: float, seconds: float) -> dict[str, Any]:
    """What is known of the parts that were gathered."""
    network, loader = candidate.network, candidate.loader
    facts = {
        "flags": [],
        "crop": list(loader.crop),
        "last_encoder_norm": network.last_encoder_norm,
        "width": _width(network),
        "features_seconds": looking,
        "evidence_seconds": seconds,
    }
    if evidence.features is not None:
        facts |= _feature_facts(evidence.features)
    null = evidence.null.seconds if evidence.null is not None else 0.0
    if evidence.null is not None:
        facts |= {"null_seconds": null, "null_epochs": len(evidence.null.affines)}
    if evidence.epoch is not None:
        # An epoch of a finetune trains and validates.
        facts |= _epoch_facts(evidence, evidence.epoch) | {"finetune_epoch_seconds": seconds - looking - null}
        facts["epoch_steps"] = len(loader.whole_order(epoch=0))
    return facts


def _feature_facts(features: Features) -> dict[str, Any]:
    return {"stage": features.stage, "feature_scale": features.scale}


def _epoch_facts(evidence: Evidence, epoch: Epoch) -> dict[str, Any]:
    steps = len(epoch.losses)
    flags = {"few_steps": steps < FEW_STEPS, "no_affine_norm": not evidence.affines}
    return {
        "flags": [flag for flag, holds in flags.items() if holds],
        "steps": steps,
        "losses": list(epoch.losses),
        "metrics": {name: value if math.isfinite(value) else None for name, value in epoch.metrics.items()},
        "epoch_seconds": epoch.seconds,
    }


def _width(network: Network) -> int | None:
    if network.last_encoder_norm is None:
        return None
    weight = getattr(network.module.get_submodule(network.last_encoder_norm), "weight", None)
    return None if weight is None else weight.numel()
