"""A full finetune: early stopping on the validation metric, best epoch kept, test metrics, a plain network."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from torch import nn

from worker.science.candidate import Candidate, give_fresh_head
from worker.science.data.loader import TargetLoader, loader_of
from worker.science.data.target import Target
from worker.science.metrics import LOSS
from worker.science.specs import FinetuneProtocol, Progress
from worker.science.target_tasks.registry import TargetTask
from worker.science.training.loop import compute_threads, make_optimizer, train_epoch
from worker.science.training.method import Method
from worker.science.training.validation import validate


@dataclass(frozen=True)
class Finetuned:
    """The delivered plain network and how it came about."""

    network: nn.Module
    metrics: dict[str, dict[str, float | None]]  # split -> metric -> value
    cases: list[float | None]  # of every test image, as in `Validation`; None where it is not defined
    best_epoch: int  # counted from 1
    epochs: list[dict[str, Any]]
    seconds: float


def finetune(
    candidate: Candidate, target: Target, *, method: Method, protocol: FinetuneProtocol, progress: Progress
) -> Finetuned:
    """Train on train, stop on val, keep the best epoch, and only then look at test."""
    start = perf_counter()
    loader = loader_of(target, candidate, protocol)
    give_fresh_head(candidate, outputs=len(target.classes), seed=protocol.seed)
    with compute_threads(protocol.threads):
        method.prepare(candidate.network.module, candidate.report.reinitialised_modules(), protocol)
        best, epochs = _train(candidate.network.module, loader, protocol, progress)
        delivered = method.deliver(candidate.network.module)
        metrics = {"validation": epochs[best - 1]["metrics"]}
        cases: list[float | None] = []
        test = target.indices("test")
        if len(test):
            found = validate(delivered, loader, test, lambda *step: progress("test", *step))
            metrics["test"] = _json(found.metrics)
            cases = [_finite(case) for case in found.cases]
    return Finetuned(delivered, metrics, cases, best, epochs, perf_counter() - start)


def _train(
    module: nn.Module, loader: TargetLoader, protocol: FinetuneProtocol, progress: Progress
) -> tuple[int, list[dict[str, Any]]]:
    optimizer = make_optimizer(module, protocol)
    validation = loader.data.indices("val")
    epochs: list[dict[str, Any]] = []
    best, best_score, best_state = 0, (-math.inf, -math.inf), deepcopy(module.state_dict())
    for epoch in range(protocol.epochs):

        def after_step(done: int, total: int, epoch: int = epoch) -> None:
            progress("finetune", epoch * total + done, protocol.epochs * total)

        losses = train_epoch(module, optimizer, loader, epoch=epoch, after_step=after_step)
        metrics = validate(module, loader, validation, lambda *_: progress("finetune", 0, 0)).metrics
        epochs.append({"loss": sum(losses) / len(losses), "metrics": _json(metrics)})
        score = _score(metrics, loader.data.task)
        if score > best_score:
            best, best_score, best_state = epoch + 1, score, deepcopy(module.state_dict())
        elif epoch + 1 - best >= protocol.patience:
            break
    module.load_state_dict(best_state)
    return max(best, 1), epochs


def _score(metrics: dict[str, float], task: TargetTask) -> tuple[float, float]:
    """The validation metric; among equals (a Dice of 0 while learning starts) the lower loss."""
    primary = task.primary.signed(metrics[task.primary.name])
    return (-math.inf if math.isnan(primary) else primary, -metrics[LOSS.name])


def _json(metrics: dict[str, float]) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in metrics.items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
