"""Supervised training on a target: its labelled batches, and its task's loss as an objective."""

from __future__ import annotations

from torch import Tensor, nn

from worker.science.data.loader import TargetLoader
from worker.science.target_tasks.registry import Loss
from worker.science.training.objective import Batch, Objective, Stream
from worker.science.training.validation import autocast, logits_of


def target_loss(loader: TargetLoader) -> Loss:
    """The target task's loss of raw outputs and labels."""
    return loader.data.task.loss()


def raw_outputs(network: nn.Module, loader: TargetLoader, images: Tensor) -> Tensor:
    """The network's raw outputs in float32, for images of any size."""
    return logits_of(network, loader, images).float()


def target_objective(loader: TargetLoader) -> Objective:
    """The target task's loss of a batch (images, labels) of this loader."""
    loss_of = target_loss(loader)

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        images, labels = batch
        with autocast(loader):
            return loss_of(raw_outputs(network, loader, images), labels.to(loader.device))

    return Objective(loss)


def labelled_batches(loader: TargetLoader) -> Stream:
    """Every training image with its labels once an epoch, in seeded order."""
    return Stream(
        batches=lambda epoch: loader.training_batches(epoch=epoch),
        steps=lambda epoch: len(loader.training_order(epoch=epoch)),
    )
