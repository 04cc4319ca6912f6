"""The one training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits
from torch import nn

from worker.science.data.loader import TargetLoader
from worker.science.errors import ScienceError
from worker.science.specs import Protocol
from worker.science.training.validation import autocast, logits_of


@contextmanager
def compute_threads(count: int) -> Iterator[None]:
    """Run the CPU work of torch and of numpy's libraries on `count` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)


def make_optimizer(network: nn.Module, protocol: Protocol) -> torch.optim.Optimizer:
    """The protocol's optimiser over all weights."""
    rate, decay = protocol.learning_rate, protocol.weight_decay
    if protocol.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), lr=rate, weight_decay=decay)
    if protocol.optimizer == "sgd":
        return torch.optim.SGD(network.parameters(), lr=rate, weight_decay=decay, momentum=0.9)
    raise ScienceError(f"optimizer: {protocol.optimizer!r} is not known; use adam or sgd")


def train_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: TargetLoader,
    *,
    epoch: int,
    after_step: Callable[[int, int], None],
) -> list[float]:
    """One epoch over the training split; the loss of every step. ScienceError when the loss is not finite."""
    loss_of = loader.data.task.loss()
    losses: list[float] = []
    total = len(loader.training_order(epoch=epoch))
    network.train()
    for images, labels in loader.training_batches(epoch=epoch):
        optimizer.zero_grad(set_to_none=True)
        with autocast(loader):
            loss = loss_of(logits_of(network, loader, images).float(), labels.to(loader.device))
        if not math.isfinite(loss.item()):
            raise ScienceError(
                f"learning_rate: the loss is {loss.item()} at step {len(losses) + 1}; lower it or check the card"
            )
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        after_step(len(losses), total)
    return losses
