"""The one training loop, and validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.nn import functional as F

from worker.science.batches import Feeder, Indices
from worker.science.errors import ScienceError
from worker.science.metrics import (
    SegmentationTally,
    classification_cases,
    classification_metrics,
    multilabel_metrics,
    regression_cases,
    regression_metrics,
)
from worker.science.specs import Protocol
from worker.science.target import TargetData

WINDOW_OVERLAP = 0.25
Loss = Callable[[Tensor, Tensor], Tensor]


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


def make_loss(task: str) -> Loss:
    """The loss of raw outputs.

    Segmentation: Dice plus cross-entropy over foreground classes; classification: cross-entropy; regression:
    squared error of standardised targets; multilabel: binary cross-entropy of every label.
    """
    if task == "classification":
        return F.cross_entropy
    if task == "regression":
        return F.mse_loss
    if task == "multilabel":
        return lambda logits, labels: F.binary_cross_entropy_with_logits(logits, labels.float())
    dice = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    return lambda logits, masks: dice(logits, masks[:, None])


def autocast(feeder: Feeder) -> AbstractContextManager[object]:
    """Mixed precision where the protocol asks for it and the device has it."""
    if feeder.protocol.precision == "mixed" and feeder.device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


def logits_of(network: nn.Module, feeder: Feeder, images: Tensor) -> Tensor:
    """Logits for images of any size: padded to what the network takes, cut back to what was given."""
    logits = network(feeder.pad(images))
    if logits.ndim == 2:
        return logits
    return logits[(slice(None), slice(None), *(slice(side) for side in images.shape[2:]))]


def train_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    feeder: Feeder,
    *,
    epoch: int,
    after_step: Callable[[int, int], None],
) -> list[float]:
    """One epoch over the training split; the loss of every step. ScienceError when the loss is not finite."""
    loss_of = make_loss(feeder.data.task)
    losses: list[float] = []
    total = len(feeder.training_order(epoch=epoch))
    network.train()
    for images, labels in feeder.training_batches(epoch=epoch):
        optimizer.zero_grad(set_to_none=True)
        with autocast(feeder):
            loss = loss_of(logits_of(network, feeder, images).float(), labels.to(feeder.device))
        if not math.isfinite(loss.item()):
            raise ScienceError(
                f"learning_rate: the loss is {loss.item()} at step {len(losses) + 1}; lower it or check the card"
            )
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        after_step(len(losses), total)
    return losses


@dataclass(frozen=True)
class Validation:
    """Metrics and mean loss over the images, and the primary metric of each image.

    The mean of `cases` is the metric, but for NaN (an image without foreground) and where images lack some of
    several foreground classes; multilabel has none, since an area under the curve is one of many images.
    """

    metrics: dict[str, float]
    cases: list[float]


@torch.no_grad()
def validate(
    network: nn.Module,
    feeder: Feeder,
    indices: Indices,
    after_image: Callable[[int, int], None] = lambda done, total: None,
) -> Validation:
    """How good the network is on whole images, in evaluation mode."""
    network.eval()
    loss_of = make_loss(feeder.data.task)
    tally = SegmentationTally(len(feeder.data.classes))
    outputs: list[Tensor] = []
    truths: list[Tensor] = []
    losses: list[float] = []
    size = feeder.protocol.batch_size
    for start in range(0, len(indices), size):
        after_image(start, len(indices))
        images, labels = feeder.batch(indices[start : start + size])
        with autocast(feeder):
            logits = _whole_image_logits(network, feeder, images).float().cpu()
        if not logits.isfinite().all():
            raise ScienceError("learning_rate: the trained network gives NaN or infinity; lower it")
        losses.extend([float(loss_of(logits, labels))] * len(images))
        if feeder.data.task == "segmentation":
            for probability, mask in zip(logits.softmax(1), labels, strict=True):
                tally.add(probability, mask)
        else:
            outputs.append(logits)
            truths.append(labels)
    if feeder.data.task == "segmentation":
        metrics, cases = tally.metrics(), tally.cases()
    else:
        metrics, cases = _of_images(feeder.data, torch.cat(outputs), torch.cat(truths))
    return Validation({**metrics, "loss": sum(losses) / len(losses)}, cases)


def _of_images(data: TargetData, outputs: Tensor, labels: Tensor) -> tuple[dict[str, float], list[float]]:
    """Metrics and cases of tasks with one answer an image: outputs (N, outputs) and labels as the feeder's."""
    if data.task == "regression":
        metrics = regression_metrics(outputs, labels, data.standard.deviation)
        return metrics, regression_cases(outputs, labels)
    if data.task == "multilabel":
        return multilabel_metrics(outputs, labels), []
    probabilities = outputs.softmax(1)
    return classification_metrics(probabilities, labels), classification_cases(probabilities, labels)


def _whole_image_logits(network: nn.Module, feeder: Feeder, images: Tensor) -> Tensor:
    if feeder.data.task != "segmentation" or feeder.crop == tuple(images.shape[2:]):
        return logits_of(network, feeder, images)
    return sliding_window_inference(
        images, feeder.padded(feeder.crop), sw_batch_size=1, predictor=network, overlap=WINDOW_OVERLAP
    )
