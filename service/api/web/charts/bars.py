"""Horizontal bars of several values on one scale."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

WIDTH = 150.0


@dataclass(frozen=True)
class Bar:
    """A bar from the zero line to a value, in a drawing `span` wide; `sound` bars are drawn in full colour."""

    x: float
    width: float
    zero: float
    span: float
    sound: bool


def bars(values: Mapping[str, float], *, sound: Collection[str]) -> dict[str, Bar]:
    """A bar for each value, under the same key; all bars have one scale, which includes zero."""
    low, high = min([0.0, *values.values()]), max([0.0, *values.values()])
    scale = WIDTH / (high - low) if high > low else 0.0
    zero = abs(low) * scale
    return {
        key: Bar(
            x=round(min(zero, zero + value * scale), 2),
            width=round(abs(value) * scale, 2),
            zero=round(zero, 2),
            span=WIDTH,
            sound=key in sound,
        )
        for key, value in values.items()
    }
