"""Metrics of a network's predictions; higher is better, but for the loss and absolute errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from monai.metrics import compute_dice
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    mean_absolute_error,
    r2_score,
    recall_score,
    roc_auc_score,
)
from torch import Tensor
from torch.nn.functional import one_hot

HALVES = 0x3C01  # half-precision numbers from 0 to 1
Counts = NDArray[np.int64]

# The metric a validation epoch is judged by, and a companion that no threshold or scale decides.
PRIMARY = {"segmentation": "dice", "classification": "accuracy", "regression": "r2", "multilabel": "auc"}
THRESHOLD_FREE = {
    "segmentation": "average_precision",
    "classification": "auc",
    "regression": "spearman",
    "multilabel": "average_precision",
}


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


def multilabel_metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Areas under the ROC and the precision-recall curve, F1 (means over labels), share of right answers.

    logits and labels (0 or 1): (N, L); yes is above 0, a probability of .5. Means are over the labels with both
    values, NaN for none of them. Logits order where probabilities would all be rounded to 1.
    """
    true, scores = labels.numpy(), logits.numpy()
    mixed = np.flatnonzero((true != true[:1]).any(axis=0))
    answers = scores > 0

    def mean_of(metric: Callable[..., float], predicted: NDArray[np.generic], **more: float) -> float:
        return _mean(metric(true[:, label], predicted[:, label], **more) for label in mixed)

    return {
        "auc": mean_of(roc_auc_score, scores),
        "average_precision": mean_of(average_precision_score, scores),
        "f1": mean_of(f1_score, answers, zero_division=0),
        "label_accuracy": float((answers == true).mean()),
    }


def regression_metrics(predicted: Tensor, values: Tensor, deviation: NDArray[np.float64]) -> dict[str, float]:
    """R^2 and correlations (means over the targets that vary, NaN for none), and absolute errors in their units.

    predicted and values: (N, T), standardised; deviation: (T,) of the training images. A correlation is NaN where
    predictions don't vary. Targets may differ in unit, so that of several each has an error of its own.
    """
    found, true = predicted.double().numpy(), values.double().numpy()
    errors = mean_absolute_error(true, found, multioutput="raw_values") * deviation
    names = (
        ["mean_absolute_error"] if len(errors) == 1 else [f"mean_absolute_error_{i}" for i in range(len(errors))]
    )
    varying = np.flatnonzero((true != true[:1]).any(axis=0))
    return {
        "r2": _mean(r2_score(true[:, i], found[:, i]) for i in varying),
        "pearson": _mean(_correlation(pearsonr, true[:, i], found[:, i]) for i in varying),
        "spearman": _mean(_correlation(spearmanr, true[:, i], found[:, i]) for i in varying),
        **dict(zip(names, errors.tolist(), strict=True)),
    }


def regression_cases(predicted: Tensor, values: Tensor) -> list[float]:
    """Of every image 1 - squared error / variance, mean over the targets that vary; the mean of all is R^2."""
    found, true = predicted.double().numpy(), values.double().numpy()
    varying = np.flatnonzero((true != true[:1]).any(axis=0))
    if not len(varying):
        return [float("nan")] * len(true)
    shares = np.square(found - true)[:, varying] / true[:, varying].var(axis=0)
    cases: list[float] = (1 - shares.mean(axis=1)).tolist()
    return cases


def _correlation(
    kind: Callable[..., tuple[float, float]], true: NDArray[np.float64], found: NDArray[np.float64]
) -> float:
    return float(kind(true, found)[0]) if np.ptp(found) > 0 else float("nan")


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return float(np.mean(known)) if known else float("nan")
