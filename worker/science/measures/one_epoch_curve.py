"""The shape of the one epoch's learning curve: how low the training loss was, and how fast it fell."""

from __future__ import annotations

import numpy as np

from worker.science.errors import NotApplicableError
from worker.science.evidence.parts import Evidence, Part, gathered
from worker.science.measures.registry import EVERY_KIND, Score, register


@register(
    title="Area under one epoch's loss",
    source="negated mean training loss over one AC-Norm epoch",
    labels=EVERY_KIND,
    needs={Part.EPOCH},
)
def one_epoch_curve_area(evidence: Evidence) -> Score:
    """Minus the area under the loss: higher means that the loss was low early."""
    losses = gathered(evidence.epoch, Part.EPOCH).losses
    return Score(-loss_area(losses), record={"steps": len(losses)})


@register(
    title="Fall of one epoch's loss",
    source="negated slope of the training loss over one AC-Norm epoch",
    labels=EVERY_KIND,
    needs={Part.EPOCH},
)
def one_epoch_curve_slope(evidence: Evidence) -> Score:
    """Minus the slope of the loss: higher means that it fell faster; a low start leaves little to fall."""
    losses = gathered(evidence.epoch, Part.EPOCH).losses
    return Score(-loss_slope(losses), record={"steps": len(losses), "first": losses[0], "last": losses[-1]})


def loss_area(losses: tuple[float, ...]) -> float:
    """Trapezoid area under the losses (S,) over an epoch of length 1."""
    _need_two(losses)
    return float(np.trapezoid(losses, dx=1 / (len(losses) - 1)))


def loss_slope(losses: tuple[float, ...]) -> float:
    """Least-squares slope of the losses (S,), a whole epoch being the unit of time."""
    _need_two(losses)
    return float(np.polynomial.Polynomial.fit(np.linspace(0, 1, len(losses)), losses, 1).convert().coef[1])


def _need_two(losses: tuple[float, ...]) -> None:
    if len(losses) < 2:
        raise NotApplicableError(f"a learning curve needs two steps; the epoch had {len(losses)}")
