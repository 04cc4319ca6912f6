"""How good a network is on whole images."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from monai.inferers import sliding_window_inference
from torch import Tensor, nn

from worker.science.data.loader import Indices, TargetLoader
from worker.science.errors import ScienceError
from worker.science.metrics import LOSS

WINDOW_OVERLAP = 0.25


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
    several foreground classes. `cases` is empty where the primary metric is not defined for one image.
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
    task = loader.data.task
    loss_of = task.loss()
    tally = task.tally(len(loader.data.classes), loader.data.standard)
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
        tally.update(logits, labels)
    judged = tally.compute()
    return Validation({**judged.metrics, LOSS.name: sum(losses) / len(losses)}, judged.cases)


def _whole_image_logits(network: nn.Module, loader: TargetLoader, images: Tensor) -> Tensor:
    if not loader.data.task.per_voxel or loader.crop == tuple(images.shape[2:]):
        return logits_of(network, loader, images)
    return sliding_window_inference(
        images, loader.padded(loader.crop), sw_batch_size=1, predictor=network, overlap=WINDOW_OVERLAP
    )
