"""What a metric is, and the metrics that several target tasks share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """A number for the quality of predictions; `lowest` and `highest` are None where it has no bound."""

    name: str
    meaning: str
    higher_is_better: bool = True
    unit: str = ""  # empty where the metric has no unit
    lowest: float | None = None
    highest: float | None = None
    # Where candidates have outcomes in several metrics equally often, the lowest number counts.
    preference: int | None = None
    numbered: bool = False  # each of several targets has its own, named `name_0`, `name_1`, ...

    def signed(self, value: float) -> float:
        """The value with the sign under which higher is better."""
        return value if self.higher_is_better else -value


LOSS = Metric("loss", "Mean of the training loss over the images.", higher_is_better=False, lowest=0.0)
AUC = Metric(
    "auc",
    "Area under the ROC curve of one class or label against the rest, mean over those that vary.",
    lowest=0.0,
    highest=1.0,
    preference=4,
)
AVERAGE_PRECISION = Metric(
    "average_precision",
    "Area under the precision-recall curve of one class or label, mean over those that vary.",
    lowest=0.0,
    highest=1.0,
)


def log_odds(outputs: Tensor) -> Tensor:
    """log p_c / (1 - p_c) of every class from raw outputs, (C, ...) both, in float64, by a softmax over C.

    That is the output of class c less the logarithm of the summed exponentials of all others. It orders samples
    whose probabilities have been rounded to 1, as those of float32 are above 17.
    """
    raw = outputs.double()
    top = raw.argmax(0, keepdim=True)
    highest = raw.gather(0, top)
    powers = (raw - highest).exp()
    others = highest + (powers.sum(0, keepdim=True) - powers).log()  # of any class but the top one, at least 0
    others_of_top = raw.scatter(0, top, -torch.inf).logsumexp(0, keepdim=True)
    return raw - others.scatter(0, top, others_of_top)


def mean_or_nan(values: Iterable[float]) -> float:
    """Mean of the values; NaN when there are none."""
    listed = list(values)
    return float(np.mean(listed)) if listed else float("nan")


def finite_or_none(value: float) -> float | None:
    """The value as JSON can hold it: None for NaN and infinity."""
    return value if math.isfinite(value) else None


def finite_metrics(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Metrics as JSON can hold them: None where one is not defined."""
    return {name: finite_or_none(value) for name, value in metrics.items()}
