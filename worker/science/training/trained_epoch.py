"""What is recorded of one epoch of training, and its form in a state file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class TrainedEpoch:
    """Means over the steps of one epoch, and the validation metrics after it.

    metrics: metric name -> value, None where it is not finite; empty where nothing was validated. penalty: None
    where the objective has no penalties.
    """

    loss: float
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    penalty: float | None = None


def dict_form(epoch: TrainedEpoch) -> dict[str, Any]:
    """The epoch as a JSON object, without what was not computed."""
    metrics = {"metrics": dict(epoch.metrics)} if epoch.metrics else {}
    penalty = {} if epoch.penalty is None else {"penalty": epoch.penalty}
    return {"loss": epoch.loss, **metrics, **penalty}


def of_dict_form(stored: Mapping[str, Any]) -> TrainedEpoch:
    """The epoch that `dict_form` made this JSON object of."""
    return TrainedEpoch(stored["loss"], metrics=stored.get("metrics", {}), penalty=stored.get("penalty"))
