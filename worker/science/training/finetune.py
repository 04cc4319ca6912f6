"""A full finetune: early stopping on the validation metric, best epoch kept, test metrics, a plain network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from time import perf_counter

from torch import nn

from worker.science.candidate import Candidate, give_fresh_head
from worker.science.computing import computing
from worker.science.data.loader import TargetLoader, loader_of
from worker.science.data.target import Target
from worker.science.errors import ScienceError
from worker.science.metrics import LOSS, finite_metrics, finite_or_none
from worker.science.specs import FinetuneProtocol, Progress
from worker.science.target_tasks.registry import TargetTask
from worker.science.training.loop import (
    Losses,
    Training,
    start_training,
    steps_of_all,
    train_epoch,
)
from worker.science.training.method import Method, Start
from worker.science.training.options import complete_options
from worker.science.training.random_numbers import seeded
from worker.science.training.state import AfterEpoch, Best, TrainingState, capture, restore
from worker.science.training.target_objective import labelled_batches, target_objective
from worker.science.training.trained_epoch import TrainedEpoch
from worker.science.training.validation import validate


@dataclass(frozen=True)
class Finetuned:
    """The delivered plain network and how it came about."""

    network: nn.Module
    metrics: dict[str, Mapping[str, float | None]]  # split -> metric -> value
    cases: list[float | None]  # of every test image, as in `Validation`; None where it is not defined
    best_epoch: int  # counted from 1
    epochs: tuple[TrainedEpoch, ...]
    seconds: float


@dataclass(frozen=True)
class _SoFar:
    """How far a finetune is: epochs done, what each gave, and the best of them."""

    epoch: int
    epochs: tuple[TrainedEpoch, ...]
    best: Best

    def ended(self, protocol: FinetuneProtocol) -> bool:
        """Whether all epochs are done, or too many since the best one."""
        since = self.epoch - self.best.epoch
        return self.epoch >= protocol.epochs or (since > 0 and since >= protocol.patience)


def finetune(
    candidate: Candidate,
    target: Target,
    *,
    method: Method,
    protocol: FinetuneProtocol,
    progress: Progress,
    options: Mapping[str, object] | None = None,
    resume: TrainingState | None = None,
    after_epoch: AfterEpoch | None = None,
) -> Finetuned:
    """Train on the training images, stop on the validation images, keep the best epoch, then test it.

    `options` are the method's; its defaults apply where an option is not given. `after_epoch` is called with the
    whole state after every epoch. Given such a state as `resume`, and the candidate loaded from its file again,
    the result is the same as that of a run without a stop; only `seconds` counts from where this call began.
    """
    start = perf_counter()
    loader = loader_of(target, candidate, protocol)
    give_fresh_head(candidate, outputs=len(target.classes), seed=protocol.seed)
    with computing(protocol), seeded(protocol.seed, loader.device):
        training = _prepared(candidate, loader, method=method, protocol=protocol, options=options or {})
        so_far = _train(training, loader, protocol, progress=progress, resume=resume, after_epoch=after_epoch)
        training.network.load_state_dict(dict(so_far.best.network))
        delivered = method.deliver(training.network)
        best = max(so_far.best.epoch, 1)
        metrics = {"validation": so_far.epochs[best - 1].metrics}
        cases: list[float | None] = []
        test = target.indices("test")
        if len(test):
            tested = validate(delivered, loader, test, lambda *step: progress("test", *step))
            metrics["test"] = finite_metrics(tested.metrics)
            cases = [finite_or_none(case) for case in tested.cases]
    return Finetuned(delivered, metrics, cases, best, so_far.epochs, perf_counter() - start)


def _prepared(
    candidate: Candidate,
    loader: TargetLoader,
    *,
    method: Method,
    protocol: FinetuneProtocol,
    options: Mapping[str, object],
) -> Training:
    """The method's objective on the candidate's network, before the first step."""
    network, stream = candidate.network, labelled_batches(loader)
    start = Start(
        network=network,
        fresh=tuple(dict.fromkeys((*candidate.report.reinitialised_modules(), network.head))),
        protocol=protocol,
        options=complete_options(method.options, options, owner=method.name),
        objective=target_objective(loader),
        stream=stream,
    )
    objective = method.prepare(start)
    return start_training(network.module, objective, stream=stream, protocol=protocol, epochs=protocol.epochs)


def _train(
    training: Training,
    loader: TargetLoader,
    protocol: FinetuneProtocol,
    *,
    progress: Progress,
    resume: TrainingState | None,
    after_epoch: AfterEpoch | None,
) -> _SoFar:
    so_far = _resumed(training, resume)
    while not so_far.ended(protocol):
        so_far = _one_more_epoch(training, loader, so_far, progress=progress)
        if after_epoch is not None:
            after_epoch(capture(training, so_far.epoch, best=so_far.best, epochs=so_far.epochs))
    return so_far


def _resumed(training: Training, resume: TrainingState | None) -> _SoFar:
    if resume is None:
        return _SoFar(0, (), Best(0, (-math.inf, -math.inf), deepcopy(training.network.state_dict())))
    if resume.best is None:
        raise ScienceError("resume: the state has no best epoch, as a finetune's has; start this run again")
    restore(training, resume)
    return _SoFar(resume.epoch, resume.epochs, resume.best)


def _one_more_epoch(training: Training, loader: TargetLoader, so_far: _SoFar, *, progress: Progress) -> _SoFar:
    """The run after one more epoch and its validation."""
    epoch = so_far.epoch
    after_step = steps_of_all(progress, "finetune", epoch=epoch, epochs=training.epochs)
    losses = train_epoch(training, epoch, after_step=after_step)
    validation = loader.data.indices("val")
    metrics = validate(training.network, loader, validation, lambda *_: progress("finetune", 0, 0)).metrics
    score = _score(metrics, loader.data.task)
    best = so_far.best
    if score > best.score:
        best = Best(epoch + 1, score, deepcopy(training.network.state_dict()))
    return _SoFar(epoch + 1, (*so_far.epochs, _trained(training, losses, metrics)), best)


def _trained(training: Training, losses: Losses, metrics: dict[str, float]) -> TrainedEpoch:
    """What is recorded of an epoch: means over its steps, and the validation metrics."""
    return TrainedEpoch(
        loss=sum(losses.loss) / len(losses.loss),
        metrics=finite_metrics(metrics),
        penalty=sum(losses.penalty) / len(losses.penalty) if training.objective.penalties else None,
    )


def _score(metrics: dict[str, float], task: TargetTask) -> tuple[float, float]:
    """The validation metric; among equals (a Dice of 0 while learning starts) the lower loss."""
    primary = task.primary.signed(metrics[task.primary.name])
    return (-math.inf if math.isnan(primary) else primary, -metrics[LOSS.name])
