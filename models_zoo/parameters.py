"""Checks of the values an architecture is built with; each error names the parameter and the remedy."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

MOST = 1_000_000  # of anything that is counted


def count(name: str, value: Any) -> int:
    """`value` as a whole number from one to MOST; ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
    if value > MOST:
        raise ValueError(f"{name} must be at most {MOST}, not {value}")
    return value


def counts(name: str, values: Any, *, least: int, most: int | None = None) -> tuple[int, ...]:
    """`values` (list or tuple: JSON gives lists) as `least` to `most` whole numbers; ValueError otherwise."""
    if not isinstance(values, list | tuple):
        raise ValueError(f"{name} must be a list of whole numbers, not {values!r}")
    if len(values) < least or (most is not None and len(values) > most):
        wanted = f"{least}" if least == most else f"at least {least}"
        raise ValueError(f"{name} must hold {wanted} whole numbers, not {len(values)}")
    return tuple(count(f"{name}[{place}]", value) for place, value in enumerate(values))


def one_of(name: str, value: Any, allowed: Sequence[Any]) -> None:
    """ValueError unless `value` is among `allowed` (and of the same type: True isn't 1)."""
    if not any(value == choice and type(value) is type(choice) for choice in allowed):
        raise ValueError(f"{name} must be one of {', '.join(map(str, allowed))}, not {value!r}")


def numbered(keys: Collection[str], prefix: str, *, first: int) -> int:
    """How many parts begin their keys with `prefix` and a number, counted without a gap from `first`."""
    seen = {key.removeprefix(prefix).split(".")[0] for key in keys if key.startswith(prefix)}
    count = 0
    while str(first + count) in seen:
        count += 1
    return count
