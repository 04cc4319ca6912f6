"""Metrics of a network's predictions; every one higher is better but the loss."""

from __future__ import annotations

import numpy as np
import torch
from monai.metrics import compute_dice
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, recall_score, roc_auc_score
from torch import Tensor
from torch.nn.functional import one_hot

HALVES = 0x3C01  # half-precision numbers from 0 to 1
Counts = NDArray[np.int64]

# The metric a validation epoch is judged by, and its threshold-free companion.
PRIMARY = {"segmentation": "dice", "classification": "accuracy"}
THRESHOLD_FREE = {"segmentation": "average_precision", "classification": "auc"}


class SegmentationTally:
    """Mean Dice over images and foreground classes, and average precision over their voxels, image by image.

    Dice leaves out a class that an image does not have (MONAI, ignore_empty); average precision one that no
    image has. NaN: no image has any foreground. Probabilities are counted by their value in half precision
    (a relative step of 2^-11), so that no voxel has to be kept.
    """

    def __init__(self, classes: int) -> None:
        self._dice: list[Tensor] = []  # of every image, its foreground classes
        self._counts = np.zeros((classes, 2, HALVES), dtype=np.int64)  # class, is it true, value

    def add(self, probability: Tensor, mask: Tensor) -> None:
        """Count one image: probability (C, [D,] H, W) and its class indices ([D,] H, W)."""
        self._dice.append(_image_dice(probability, mask))
        places = probability.flatten(1).half().view(torch.int16).long().numpy()  # the bits of x >= 0 order like x
        true = mask.flatten().numpy()
        for index in range(1, len(self._counts)):
            for side in (0, 1):
                chosen = places[index][(true == index) == bool(side)]
                self._counts[index, side] += np.bincount(chosen, minlength=HALVES)

    def metrics(self) -> dict[str, float]:
        """What was counted so far."""
        dice = torch.cat(self._dice)
        known = dice[~dice.isnan()]
        found = [_average_precision(*counts) for counts in self._counts[1:] if counts[1].any()]
        return {
            "dice": float(known.mean()) if len(known) else float("nan"),
            "average_precision": float(np.mean(found)) if found else float("nan"),
        }

    def cases(self) -> list[float]:
        """The mean Dice of every image over the foreground classes it has; NaN for an image with none."""
        return [float(dice.nanmean()) for dice in self._dice]


def _image_dice(probability: Tensor, mask: Tensor) -> Tensor:
    classes = probability.shape[0]
    predicted, true = (
        one_hot(labels.long(), classes).movedim(-1, 0)[None] for labels in (probability.argmax(0), mask)
    )
    return compute_dice(predicted, true, include_background=False).flatten()


def _average_precision(negatives: Counts, positives: Counts) -> float:
    """Sum of precision times gained recall over falling thresholds, from counts per value, lowest first."""
    hits, all_above = np.cumsum(positives[::-1]), np.cumsum((positives + negatives)[::-1])
    gained = positives[::-1] / hits[-1]
    return float((gained * hits / np.maximum(all_above, 1)).sum())


def classification_cases(probabilities: Tensor, labels: Tensor) -> list[float]:
    """Of every image, whether the likeliest class is its own (1) or not (0); their mean is the accuracy."""
    return (probabilities.argmax(1) == labels).double().tolist()


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
