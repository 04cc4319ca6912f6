"""Small curves of several series on one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 120.0, 28.0
MOST_POINTS = 60  # about two pixels a point


@dataclass(frozen=True)
class Curve:
    """A polyline's `points` attribute, in a drawing of this width and height."""

    points: str
    width: float
    height: float


def curves(series: Mapping[str, Sequence[float | None]]) -> dict[str, Curve]:
    """A curve for each series of at least two numbers, under the same key; all curves have one scale."""
    numbers = {key: [value for value in values if value is not None] for key, values in series.items()}
    together = [value for values in numbers.values() for value in values]
    if not together:
        return {}
    low, span = min(together), (max(together) - min(together)) or 1.0
    return {
        key: Curve(_points(values, low, span), WIDTH, HEIGHT) for key, values in numbers.items() if len(values) > 1
    }


def _points(values: Sequence[float], low: float, span: float) -> str:
    drawn = values[:: max(1, len(values) // MOST_POINTS)]
    across = WIDTH / max(1, len(drawn) - 1)
    return " ".join(
        f"{place * across:.1f},{(1 - (value - low) / span) * HEIGHT:.1f}" for place, value in enumerate(drawn)
    )
