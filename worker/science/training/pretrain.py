"""A pretext run: a recipe trains a network; the plain network is what it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import nn

from models_zoo.architecture import Network
from worker.science.computing import computing
from worker.science.data.loader import TargetLoader
from worker.science.specs import Progress
from worker.science.training.loop import (
    Training,
    start_training,
    steps_of_all,
    train_epoch,
)
from worker.science.training.objective import Objective
from worker.science.training.options import complete_options
from worker.science.training.random_numbers import seeded
from worker.science.training.recipe import Attained, Pretext, Recipe
from worker.science.training.samples import Samples
from worker.science.training.state import AfterEpoch, TrainingState, capture, restore
from worker.science.training.trained_epoch import TrainedEpoch


@dataclass(frozen=True)
class Pretrained:
    """What a pretext run made: the network it was given, trained in place."""

    network: nn.Module
    losses: tuple[float, ...]  # the mean of every epoch
    attained: Attained | None  # None where there are no validation images
    seconds: float


def pretrain(
    network: Network,
    recipe: Recipe,
    loader: TargetLoader,
    *,
    epochs: int,
    progress: Progress,
    options: Mapping[str, object] | None = None,
    resume: TrainingState | None = None,
    after_epoch: AfterEpoch | None = None,
) -> Pretrained:
    """Train `network`, in place, as the recipe says, with the loader's protocol; heads are dropped at the end.

    `resume` and `after_epoch` as in `finetune`: the network must be built as it was before.
    """
    start = perf_counter()
    complete = complete_options(recipe.options, options or {}, owner=recipe.name)
    samples = Samples(recipe, complete, loader)
    with computing(loader.protocol), seeded(loader.protocol.seed, loader.device):
        pretext = Pretext(network, recipe.heads(network, complete).to(loader.device), loader, complete)
        training = _prepared(pretext, samples, epochs)
        losses = _train(training, progress=progress, resume=resume, after_epoch=after_epoch)
        attained = _attained(pretext, samples)
    return Pretrained(network.module, losses, attained, perf_counter() - start)


def _prepared(pretext: Pretext, samples: Samples, epochs: int) -> Training:
    recipe = samples.recipe
    after_step = recipe.after_step
    objective = Objective(
        loss=lambda _, batch: recipe.loss(pretext, batch),
        after_step=() if after_step is None else (lambda _: after_step(pretext),),
        schedule=recipe.schedule,
    )
    trained = nn.ModuleDict({"network": pretext.network.module, "heads": pretext.heads})
    protocol = pretext.loader.protocol
    return start_training(trained, objective, stream=samples.stream(), protocol=protocol, epochs=epochs)


def _train(
    training: Training,
    *,
    progress: Progress,
    resume: TrainingState | None,
    after_epoch: AfterEpoch | None,
) -> tuple[float, ...]:
    """The mean loss of every epoch, including those before the run was resumed."""
    epochs: tuple[TrainedEpoch, ...] = ()
    if resume is not None:
        restore(training, resume)
        epochs = resume.epochs
    for epoch in range(len(epochs), training.epochs):
        after_step = steps_of_all(progress, "pretrain", epoch=epoch, epochs=training.epochs)
        losses = train_epoch(training, epoch, after_step=after_step)
        epochs = (*epochs, TrainedEpoch(sum(losses.loss) / len(losses.loss)))
        if after_epoch is not None:
            after_epoch(capture(training, epoch + 1, epochs=epochs))
    return tuple(epoch.loss for epoch in epochs)


@torch.no_grad()
def _attained(pretext: Pretext, samples: Samples) -> Attained | None:
    if not len(pretext.loader.data.indices("val")):
        return None
    pretext.network.module.eval()
    pretext.heads.eval()
    return samples.recipe.progress(pretext, samples.validation())
