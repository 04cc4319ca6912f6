"""A correlation as a dot with its interval, on an axis from -1 to 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 160


@dataclass(frozen=True)
class Dot:
    """Horizontal positions in a drawing `span` wide; None where there is nothing to draw."""

    x: float | None
    interval: tuple[float, float] | None
    zero: float
    span: float


def correlation_dot(value: float | None, ends: Sequence[float] | None) -> Dot:
    """Where the dot, the ends of its interval and the zero line stand."""
    return Dot(
        x=None if value is None else _position(value),
        interval=None if ends is None else (_position(ends[0]), _position(ends[1])),
        zero=_position(0.0),
        span=WIDTH,
    )


def _position(correlation: float) -> float:
    return round((correlation + 1) / 2 * WIDTH, 2)
