"""Labels and values of a mapping, a dataclass or a model, as the pages list them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel


def is_record(value: object) -> bool:
    """Whether `entries` can list it."""
    return isinstance(value, Mapping | BaseModel) or (is_dataclass(value) and not isinstance(value, type))


def entries(value: object) -> list[tuple[str, Any]]:
    """Every label with its value, in the order of declaration; None has no entries."""
    if value is None:
        return []
    if isinstance(value, Mapping):
        return [(str(label), entry) for label, entry in value.items()]
    if isinstance(value, BaseModel):
        return list(value)
    if is_dataclass(value):
        return [(field.name, getattr(value, field.name)) for field in fields(value)]
    raise TypeError(f"a {type(value).__name__} has no labels; give a mapping, a dataclass or a model")
