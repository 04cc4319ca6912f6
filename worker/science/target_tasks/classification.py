"""Classification: one class for every image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, recall_score, roc_auc_score
from torch import Tensor
from torch.nn import functional as F

from models_zoo.architecture import Outputs
from worker.science.metrics import AUC, Metric, log_odds
from worker.science.target_tasks.class_labels import (
    checked_classes,
    class_balance,
    decoded_classes,
    integers,
    reindexed,
)
from worker.science.target_tasks.registry import LabelKind, Labels, Loss, Standard, TargetTask, register
from worker.science.target_tasks.tally import Judged, RowTally

FIELD = "labels"


def _decode(stored: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    count = shape[0]
    labels = stored[:, 0] if stored.shape == (count, 1) else stored
    return decoded_classes(labels, field=FIELD, shape=(count,))


def _check(labels: NDArray[Any], split: NDArray[np.str_]) -> Labels:
    classes, places = reindexed(labels, split, field=FIELD)
    return Labels(places, classes, checked_classes(places, classes, split, field=FIELD))


def _loss() -> Loss:
    """Cross-entropy of raw outputs (B, C) and class indices (B,)."""
    return F.cross_entropy


def classification_cases(outputs: Tensor, labels: Tensor) -> list[float]:
    """1 for every image whose most probable class is the right one, else 0; the mean is the accuracy."""
    return (outputs.argmax(1) == labels).double().tolist()


def classification_metrics(outputs: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy, balanced accuracy, and area under the ROC curve (one against the rest, mean over classes).

    outputs: (N, C), raw; labels: (N,). The area is that of each class's log-odds, the mean over the classes
    present; NaN for one class only.
    """
    true, predicted = labels.numpy(), outputs.argmax(1).numpy()
    present = np.unique(true)
    odds = log_odds(outputs.T).numpy()  # (C, N)
    areas = (
        [roc_auc_score(true == index, odds[index]) for index in present] if len(present) > 1 else [float("nan")]
    )
    return {
        "accuracy": float(accuracy_score(true, predicted)),
        "balanced_accuracy": float(
            recall_score(true, predicted, labels=present, average="macro", zero_division=0)
        ),
        "auc": float(np.mean(areas)),
    }


def _judge(outputs: Tensor, labels: Tensor) -> Judged:
    return Judged(classification_metrics(outputs, labels), classification_cases(outputs, labels))


def _tally(outputs: int, standard: Standard | None) -> RowTally:
    return RowTally(_judge)


ACCURACY = Metric(
    "accuracy",
    "Share of images whose most probable class is the right one.",
    lowest=0.0,
    highest=1.0,
    preference=2,
)
BALANCED_ACCURACY = Metric(
    "balanced_accuracy", "Share of right answers within each class, mean over classes.", lowest=0.0, highest=1.0
)
CLASSIFICATION = register(
    TargetTask(
        name="classification",
        summary="One class for every image.",
        field=FIELD,
        label_kind=LabelKind.CLASS,
        outputs=Outputs.IMAGE,
        head="softmax",
        primary=ACCURACY,
        threshold_free=AUC,
        further_metrics=(BALANCED_ACCURACY,),
        decode=_decode,
        check=_check,
        describe=class_balance,
        tensor=integers,
        loss=_loss,
        tally=_tally,
    )
)
