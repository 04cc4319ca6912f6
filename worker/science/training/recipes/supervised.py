"""Supervised pretraining: a network learns the labels of its source data with their task's loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor

from models_zoo.architecture import Network
from models_zoo.card import Normalisation
from worker.science.data.loader import TargetLoader
from worker.science.data.target import Target
from worker.science.specs import Protocol
from worker.science.training.objective import Batch
from worker.science.training.pretrain import pretrain
from worker.science.training.recipe import Attained, Pretext, Recipe, register
from worker.science.training.target_objective import raw_outputs, target_loss, target_objective


def outputs(data: Target) -> int:
    """As many as the source data has classes."""
    return len(data.classes)


def loss(pretext: Pretext, batch: Batch) -> Tensor:
    """The loss of the source's task."""
    return target_objective(pretext.loader).loss(pretext.network.module, batch)


def progress(pretext: Pretext, batches: Iterable[Batch]) -> Attained:
    """The mean loss of the validation images; by chance, that of outputs which are 0 everywhere."""
    loss_of = target_loss(pretext.loader)
    learnt, silent, count = 0.0, 0.0, 0
    for images, labels in batches:
        answers = raw_outputs(pretext.network.module, pretext.loader, images)
        learnt += len(images) * float(loss_of(answers, labels))
        silent += len(images) * float(loss_of(torch.zeros_like(answers), labels))
        count += len(images)
    return Attained("loss", learnt / count, {"all outputs 0": silent / count}, lower_is_better=True)


SUPERVISED = register(
    Recipe("supervised", "learns the labels of the source data", outputs, loss, progress, sample=None)
)


def train_source(
    network: Network, data: Target, protocol: Protocol, *, epochs: int, progress: Callable[[int, int], None]
) -> None:
    """Train a network from scratch on every training image of `data`, in place, on the threads torch has now."""
    here = replace(protocol, threads=torch.get_num_threads())
    loader = TargetLoader(data, Normalisation(), network.divisor, here, torch.device("cpu"))
    pretrain(network, SUPERVISED, loader, epochs=epochs, progress=lambda _, done, total: progress(done, total))
