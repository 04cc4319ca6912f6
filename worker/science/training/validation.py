"""The loss of raw outputs, and how good a network is on whole images."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from torch import Tensor, nn
from torch.nn import functional as F

from worker.science.data.loader import Indices, TargetLoader
from worker.science.data.target import Target
from worker.science.errors import ScienceError
from worker.science.metrics import (
    SegmentationTally,
    classification_cases,
    classification_metrics,
    multilabel_metrics,
    regression_cases,
    regression_metrics,
)

WINDOW_OVERLAP = 0.25
Loss = Callable[[Tensor, Tensor], Tensor]


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


def autocast(loader: TargetLoader) -> AbstractContextManager[object]:
    """Mixed precision where the protocol asks for it and the device has it."""
    if loader.protocol.precision == "mixed" and loader.device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


def logits_of(network: nn.Module, loader: TargetLoader, images: Tensor) -> Tensor:
    """Logits for images of any size: padded to what the network takes, cut back to what was given."""
    logits = network(loader.pad(images))
    if logits.ndim == 2:
        return logits
    return logits[(slice(None), slice(None), *(slice(side) for side in images.shape[2:]))]


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
    loader: TargetLoader,
    indices: Indices,
    after_image: Callable[[int, int], None] = lambda done, total: None,
) -> Validation:
    """How good the network is on whole images, in evaluation mode."""
    network.eval()
    loss_of = make_loss(loader.data.task)
    tally = SegmentationTally(len(loader.data.classes))
    outputs: list[Tensor] = []
    truths: list[Tensor] = []
    losses: list[float] = []
    size = loader.protocol.batch_size
    for start in range(0, len(indices), size):
        after_image(start, len(indices))
        images, labels = loader.batch(indices[start : start + size])
        with autocast(loader):
            logits = _whole_image_logits(network, loader, images).float().cpu()
        if not logits.isfinite().all():
            raise ScienceError("learning_rate: the trained network gives NaN or infinity; lower it")
        losses.extend([float(loss_of(logits, labels))] * len(images))
        if loader.data.task == "segmentation":
            for probability, mask in zip(logits.softmax(1), labels, strict=True):
                tally.add(probability, mask)
        else:
            outputs.append(logits)
            truths.append(labels)
    if loader.data.task == "segmentation":
        metrics, cases = tally.metrics(), tally.cases()
    else:
        metrics, cases = _of_images(loader.data, torch.cat(outputs), torch.cat(truths))
    return Validation({**metrics, "loss": sum(losses) / len(losses)}, cases)


def _of_images(data: Target, outputs: Tensor, labels: Tensor) -> tuple[dict[str, float], list[float]]:
    """Metrics and cases of tasks with one answer an image: outputs (N, outputs) and labels as the loader's."""
    if data.task == "regression":
        metrics = regression_metrics(outputs, labels, data.standard.deviation)
        return metrics, regression_cases(outputs, labels)
    if data.task == "multilabel":
        return multilabel_metrics(outputs, labels), []
    probabilities = outputs.softmax(1)
    return classification_metrics(probabilities, labels), classification_cases(probabilities, labels)


def _whole_image_logits(network: nn.Module, loader: TargetLoader, images: Tensor) -> Tensor:
    if loader.data.task != "segmentation" or loader.crop == tuple(images.shape[2:]):
        return logits_of(network, loader, images)
    return sliding_window_inference(
        images, loader.padded(loader.crop), sw_batch_size=1, predictor=network, overlap=WINDOW_OVERLAP
    )
