"""Multi-label classification: several answers of yes or no for every image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from torch import Tensor
from torch.nn import functional as F

from models_zoo.architecture import Outputs
from worker.science.errors import ScienceError
from worker.science.metrics import AUC, AVERAGE_PRECISION, Metric, mean_or_nan
from worker.science.target_tasks import columns
from worker.science.target_tasks.class_labels import integers, shares
from worker.science.target_tasks.registry import (
    LabelKind,
    Labels,
    LabelSummary,
    Loss,
    Standard,
    TargetTask,
    register,
)
from worker.science.target_tasks.tally import Judged, RowTally

NAME = "multilabel"
FIELD = "labels"
F1 = Metric("f1", "F1 score of each label at a probability of 0.5, mean over labels.", lowest=0.0, highest=1.0)
LABEL_ACCURACY = Metric(
    "label_accuracy", "Share of right answers over all images and labels.", lowest=0.0, highest=1.0
)


def _decode(stored: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    table = columns.columns_of(stored, shape[0], field=FIELD, task=NAME, one_axis=False, form="(N,L)")
    if table.shape[1] < 2:
        raise ScienceError(f"{FIELD}: one column only; {NAME} needs two or more, else use task classification")
    if table.dtype.kind not in "biuf":
        raise ScienceError(f"{FIELD}: {table.dtype} values; store 0 and 1, one column a label")
    odd = np.unique(table[(table != 0) & (table != 1)])
    if len(odd):
        raise ScienceError(
            f"{FIELD}: {odd[:5].tolist()} are neither 0 nor 1; store 0 and 1, and leave out images whose labels "
            "are not known"
        )
    return table.astype(np.uint8)


def _check(labels: NDArray[np.uint8], split: NDArray[np.str_]) -> Labels:
    columns.refuse_still(columns.still_columns(labels[split == "train"]), field=FIELD)
    warnings = columns.still_warnings(labels[split == "val"])
    if (labels.sum(axis=1, dtype=np.int64) == 1).all():
        warnings.append("every image has exactly one label: is this a classification?")
    return Labels(labels, tuple(range(labels.shape[1])), warnings)


def _describe(labels: NDArray[np.uint8], numbers: tuple[int, ...]) -> LabelSummary:
    return shares(numbers, labels.sum(axis=0, dtype=np.int64), total=len(labels))


def _loss() -> Loss:
    """Binary cross-entropy of raw outputs and answers of 0 or 1, both (B, L)."""
    return lambda outputs, labels: F.binary_cross_entropy_with_logits(outputs, labels.float())


def multilabel_metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Areas under the ROC and the precision-recall curve, F1 (means over labels), share of right answers.

    logits and labels (0 or 1): (N, L); yes is above 0, a probability of .5. Means are over the labels with both
    values, NaN for none of them. Logits order where probabilities would all be rounded to 1.
    """
    true, scores = labels.numpy(), logits.double().numpy()
    mixed = np.flatnonzero((true != true[:1]).any(axis=0))
    answers = scores > 0

    def mean_of(metric: Callable[..., float], predicted: NDArray[np.generic], **more: float) -> float:
        return mean_or_nan(metric(true[:, label], predicted[:, label], **more) for label in mixed)

    return {
        "auc": mean_of(roc_auc_score, scores),
        "average_precision": mean_of(average_precision_score, scores),
        "f1": mean_of(f1_score, answers, zero_division=0),
        "label_accuracy": float((answers == true).mean()),
    }


def _judge(outputs: Tensor, labels: Tensor) -> Judged:
    return Judged(multilabel_metrics(outputs, labels), [])  # an area under a curve is one of many images


def _tally(outputs: int, standard: Standard | None) -> RowTally:
    return RowTally(_judge)


MULTILABEL = register(
    TargetTask(
        name=NAME,
        summary="Several answers of yes or no for every image.",
        field=FIELD,
        label_kind=LabelKind.YES_NO,
        outputs=Outputs.IMAGE,
        head="sigmoid",
        primary=AUC,
        threshold_free=AVERAGE_PRECISION,
        further_metrics=(F1, LABEL_ACCURACY),
        decode=_decode,
        check=_check,
        describe=_describe,
        tensor=integers,
        loss=_loss,
        tally=_tally,
    )
)
