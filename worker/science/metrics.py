"""Metrics of a network's predictions; every one higher is better but the loss."""

from __future__ import annotations

import numpy as np
import torch
from monai.metrics import compute_dice
from sklearn.metrics import accuracy_score, average_precision_score, recall_score, roc_auc_score
from torch import Tensor
from torch.nn.functional import one_hot

# The metric a validation epoch is judged by, and its threshold-free companion.
PRIMARY = {"segmentation": "dice", "classification": "accuracy"}
THRESHOLD_FREE = {"segmentation": "average_precision", "classification": "auc"}


def segmentation_metrics(probabilities: list[Tensor], masks: list[Tensor]) -> dict[str, float]:
    """Mean Dice over images and foreground classes, and average precision over their voxels.

    probabilities: one (C, [D,] H, W) an image; masks: one ([D,] H, W) of class indices an image. Dice leaves
    out a class that an image does not have (MONAI, ignore_empty); average precision one that no image has.
    NaN: no image has any foreground.
    """
    dice = [_image_dice(probability, mask) for probability, mask in zip(probabilities, masks, strict=True)]
    known = torch.cat(dice)
    known = known[~known.isnan()]
    return {
        "dice": float(known.mean()) if len(known) else float("nan"),
        "average_precision": _average_precision(probabilities, masks),
    }


def _image_dice(probability: Tensor, mask: Tensor) -> Tensor:
    classes = probability.shape[0]
    predicted, true = (
        one_hot(labels.long(), classes).movedim(-1, 0)[None] for labels in (probability.argmax(0), mask)
    )
    return compute_dice(predicted, true, include_background=False).flatten()


def _average_precision(probabilities: list[Tensor], masks: list[Tensor]) -> float:
    true = torch.cat([mask.flatten() for mask in masks]).numpy()
    found = [
        average_precision_score(true == index, torch.cat([one[index].flatten() for one in probabilities]).numpy())
        for index in range(1, probabilities[0].shape[0])
        if (true == index).any()
    ]
    return float(np.mean(found)) if found else float("nan")


def classification_metrics(probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy, balanced accuracy, and area under the ROC curve (one against the rest, mean over classes).

    probabilities: (N, C); labels: (N,). The area is taken over the classes present; NaN for one class only.
    """
    true, predicted = labels.numpy(), probabilities.argmax(1).numpy()
    present = np.unique(true)
    areas = (
        [roc_auc_score(true == index, probabilities[:, index].numpy()) for index in present]
        if len(present) > 1
        else [float("nan")]
    )
    return {
        "accuracy": float(accuracy_score(true, predicted)),
        "balanced_accuracy": float(
            recall_score(true, predicted, labels=present, average="macro", zero_division=0)
        ),
        "auc": float(np.mean(areas)),
    }
