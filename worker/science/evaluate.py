"""One evaluation: frozen features, one AC-Norm epoch, and everything a measure may look at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from models_zoo.registry import Network
from worker.science.acnorm.convert import affines, convert
from worker.science.candidate import Candidate
from worker.science.errors import NotApplicableError
from worker.science.evidence import Epoch, Evidence
from worker.science.features import frozen_features
from worker.science.finetune.loop import compute_threads, make_optimizer, train_epoch, validate
from worker.science.specs import Progress

FEW_STEPS = 20  # an epoch of fewer steps says little


@dataclass(frozen=True)
class Gathered:
    """The evidence, and what the ranked list tells of how it came about."""

    evidence: Evidence
    facts: dict[str, Any]


def gather(candidate: Candidate, progress: Progress) -> Gathered:
    """Features from the source network as it is, then one AC-Norm epoch from its own weights."""
    network, feeder = candidate.network, candidate.feeder
    start = perf_counter()
    with compute_threads(feeder.protocol.threads):
        features = frozen_features(network, feeder, progress)
        features_seconds = perf_counter() - start
        norms = _convert(candidate)
        epoch = _adapt(candidate, progress)
    evidence = Evidence(
        task=feeder.data.task,
        features=features,
        affines=affines(network.module) if norms else {},
        last_encoder_norm=network.last_encoder_norm,
        temperature=feeder.protocol.temperature,
        epoch=epoch,
    )
    return Gathered(evidence, _facts(candidate, evidence, features_seconds, perf_counter() - start))


def _convert(candidate: Candidate) -> bool:
    try:
        convert(
            candidate.network.module,
            temperature=candidate.feeder.protocol.temperature,
            skip=candidate.report.reinitialised_modules(),
        )
    except NotApplicableError:
        return False
    return True


def _adapt(candidate: Candidate, progress: Progress) -> Epoch:
    module, feeder = candidate.network.module, candidate.feeder
    start = perf_counter()
    losses = train_epoch(
        module,
        make_optimizer(module, feeder.protocol),
        feeder,
        epoch=0,
        after_step=lambda done, total: progress("epoch", done, total),
    )
    seconds = perf_counter() - start
    validation = feeder.data.indices("val")
    metrics = validate(module, feeder, validation, lambda done, total: progress("validation", done, total))
    return Epoch(tuple(losses), metrics, seconds)


def _facts(candidate: Candidate, evidence: Evidence, features_seconds: float, seconds: float) -> dict[str, Any]:
    network, feeder, epoch = candidate.network, candidate.feeder, evidence.epoch
    steps = len(epoch.losses)
    return {
        "flags": ["few_steps"] if steps < FEW_STEPS else [],
        "steps": steps,
        "crop": list(feeder.crop),
        "stage": evidence.features.stage,
        "feature_scale": evidence.features.scale,
        "last_encoder_norm": network.last_encoder_norm,
        "width": _width(network),
        "losses": list(epoch.losses),
        "metrics": {name: value if math.isfinite(value) else None for name, value in epoch.metrics.items()},
        "features_seconds": features_seconds,
        "epoch_seconds": epoch.seconds,
        "evidence_seconds": seconds,
        "finetune_epoch_seconds": seconds - features_seconds,  # an epoch of a finetune trains and validates
    }


def _width(network: Network) -> int | None:
    if network.last_encoder_norm is None:
        return None
    return network.module.get_submodule(network.last_encoder_norm).get_parameter("weight").numel()
