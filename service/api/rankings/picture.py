"""Coordinates of the pictures beside a ranked list; the drawing itself is the template's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.api.rankings.schemas import RankedOut, RankingOut

BAR_WIDTH = 150.0
CURVE_WIDTH, CURVE_HEIGHT = 120.0, 28.0
_MOST_POINTS = 60


@dataclass(frozen=True)
class Bar:
    """A horizontal bar from the zero line to a value."""

    x: float
    width: float
    zero: float
    sound: bool


def bars_of(ranking: RankingOut) -> dict[str, Bar]:
    """Candidate id -> its ordering score's bar; all bars have one scale, which includes zero."""
    values = {row.candidate.id: value for row in ranking.ranked if (value := _value(row, ranking)) is not None}
    low, high = min([0.0, *values.values()]), max([0.0, *values.values()])
    scale = BAR_WIDTH / (high - low) if high > low else 0.0
    zero = -low * scale
    placed = {row.candidate.id for row in ranking.ranked if row.position is not None}
    return {
        key: Bar(round(min(zero, zero + value * scale), 2), round(abs(value) * scale, 2), zero, key in placed)
        for key, value in values.items()
    }


def _value(row: RankedOut, ranking: RankingOut) -> float | None:
    score = row.scores.get(ranking.order_by)
    return score.value if score else None


def curves_of(ranking: RankingOut) -> dict[str, str]:
    """Candidate id -> the points of its loss over the epoch; all curves have one scale."""
    return _curves({row.candidate.id: row.facts.losses for row in ranking.ranked})


def _curves(losses: Mapping[str, Sequence[float | None]]) -> dict[str, str]:
    numbers = {key: [value for value in own if value is not None] for key, own in losses.items()}
    every = [value for own in numbers.values() for value in own]
    if not every:
        return {}
    low, high = min(every), max(every)
    span = (high - low) or 1.0
    return {key: _points(own, low, span) for key, own in numbers.items() if len(own) > 1}


def _points(losses: Sequence[float], low: float, span: float) -> str:
    step = max(1, len(losses) // _MOST_POINTS)
    shown = losses[::step]
    across = CURVE_WIDTH / max(1, len(shown) - 1)
    return " ".join(
        f"{number * across:.1f},{(1 - (loss - low) / span) * CURVE_HEIGHT:.1f}"
        for number, loss in enumerate(shown)
    )
