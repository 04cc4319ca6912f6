"""Regression: one number or several for every image, standardised for training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import mean_absolute_error, r2_score
from torch import Tensor
from torch.nn import functional as F

from models_zoo.architecture import Outputs
from worker.science.metrics import Metric, mean_or_nan
from worker.science.target_tasks import columns
from worker.science.target_tasks.registry import (
    ColumnSummary,
    LabelKind,
    Labels,
    LabelSummary,
    Loss,
    Standard,
    TargetTask,
    register,
)
from worker.science.target_tasks.tally import Judged, RowTally

NAME = "regression"
FIELD = "labels"
R2 = Metric("r2", "Coefficient of determination, mean over the targets that vary.", highest=1.0, preference=3)
PEARSON = Metric("pearson", "Pearson's correlation, mean over the targets that vary.", lowest=-1.0, highest=1.0)
SPEARMAN = Metric(
    "spearman", "Spearman's rank correlation, mean over the targets that vary.", lowest=-1.0, highest=1.0
)
ERROR = Metric(
    "mean_absolute_error",
    "Mean absolute difference between a target's predicted and true values.",
    higher_is_better=False,
    unit="the target's own",
    lowest=0.0,
    numbered=True,
)


def decode(stored: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Numbers (N, T) from an array (N,) or (N, T)."""
    table = columns.columns_of(stored, shape[0], field=FIELD, task=NAME, one_axis=True, form="(N,) or (N,T)")
    return columns.numbers(table, field=FIELD, task=NAME)


def check(values: NDArray[np.float64], split: NDArray[np.str_], *, field: str = FIELD) -> Labels:
    """The numbers with their columns' places; ScienceError where a column does not vary or lies far off."""
    train = values[split == "train"]
    columns.refuse_still(columns.still_numbers(train, field=field), field=field)
    columns.refuse_far(train, values, field=field)
    columns.refuse_large(values, field=field)
    return Labels(values, tuple(range(values.shape[1])), columns.still_warnings(values[split == "val"]))


def describe(values: NDArray[np.float64], numbers: tuple[int, ...]) -> LabelSummary:
    """Range, mean and deviation of each target."""
    return LabelSummary(targets=tuple(_summary(column, values[:, column]) for column in numbers))


def _summary(column: int, values: NDArray[np.float64]) -> ColumnSummary:
    return ColumnSummary(
        column=column,
        lowest=float(values.min()),
        mean=float(values.mean()),
        deviation=float(values.std()),
        highest=float(values.max()),
    )


def standardise(train: NDArray[np.float64]) -> Standard:
    """Mean and deviation of each target over the training images: nothing is learnt from the others."""
    return Standard(train.mean(axis=0), train.std(axis=0))


def tensor(values: NDArray[np.float64], standard: Standard | None) -> Tensor:
    """Standardised values of a batch, (B, T) float32."""
    scaled = standard.apply(values) if standard else values
    return torch.from_numpy(scaled.astype(np.float32))


def _loss() -> Loss:
    """Squared error of raw outputs and standardised values, both (B, T)."""
    return F.mse_loss


def regression_metrics(predicted: Tensor, values: Tensor, deviation: NDArray[np.float64]) -> dict[str, float]:
    """R^2 and correlations (means over the targets that vary, NaN for none), and absolute errors in their units.

    predicted and values: (N, T), standardised; deviation: (T,) of the training images. A correlation is NaN where
    predictions don't vary. Targets may differ in unit, so that of several each has an error of its own.
    """
    answers, true = predicted.double().numpy(), values.double().numpy()
    errors = mean_absolute_error(true, answers, multioutput="raw_values") * deviation
    names = [ERROR.name] if len(errors) == 1 else [f"{ERROR.name}_{i}" for i in range(len(errors))]
    varying = np.flatnonzero((true != true[:1]).any(axis=0))
    return {
        "r2": mean_or_nan(r2_score(true[:, i], answers[:, i]) for i in varying),
        "pearson": mean_or_nan(_correlation(pearsonr, true[:, i], answers[:, i]) for i in varying),
        "spearman": mean_or_nan(_correlation(spearmanr, true[:, i], answers[:, i]) for i in varying),
        **dict(zip(names, errors.tolist(), strict=True)),
    }


def regression_cases(predicted: Tensor, values: Tensor) -> list[float]:
    """1 - squared error / variance of every image, mean over the targets that vary; the mean of all is R^2."""
    answers, true = predicted.double().numpy(), values.double().numpy()
    varying = np.flatnonzero((true != true[:1]).any(axis=0))
    if not len(varying):
        return [float("nan")] * len(true)
    shares = np.square(answers - true)[:, varying] / true[:, varying].var(axis=0)
    cases: list[float] = (1 - shares.mean(axis=1)).tolist()
    return cases


def _correlation(
    kind: Callable[..., tuple[float, float]], true: NDArray[np.float64], answers: NDArray[np.float64]
) -> float:
    return float(kind(true, answers)[0]) if np.ptp(answers) > 0 else float("nan")


def tally(outputs: int, standard: Standard | None) -> RowTally:
    """Rows of predictions, judged in the targets' own units."""
    deviation = standard.deviation if standard else np.ones(outputs)

    def judge(predicted: Tensor, values: Tensor) -> Judged:
        return Judged(regression_metrics(predicted, values, deviation), regression_cases(predicted, values))

    return RowTally(judge)


REGRESSION = register(
    TargetTask(
        name=NAME,
        summary="One number or several for every image.",
        field=FIELD,
        label_kind=LabelKind.NUMBER,
        outputs=Outputs.IMAGE,
        head="none",
        primary=R2,
        threshold_free=SPEARMAN,
        further_metrics=(PEARSON, ERROR),
        decode=decode,
        check=check,
        describe=describe,
        standardise=standardise,
        tensor=tensor,
        loss=_loss,
        tally=tally,
    )
)
