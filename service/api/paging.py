"""Cursor pages: newest first; the cursor is the id of the last row of the page before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, Protocol, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field

from service.api.names import ID_PATTERN

After = Annotated[str | None, Query(pattern=ID_PATTERN, description="The `next` of the page before this one.")]
Limit = Annotated[int, Query(ge=1, le=100, description="Largest number of entries on the page.")]

Shown = TypeVar("Shown")


class Page(BaseModel, Generic[Shown]):
    """One page of a list, newest first."""

    items: list[Shown] = Field(description="Entries of this page, at most `limit` of them.")
    next: str | None = Field(description="Value of `after` that gets the next page; null on the last page.")


class _Identified(Protocol):
    @property
    def id(self) -> Any: ...


Row = TypeVar("Row", bound=_Identified)


def page_of(rows: Sequence[Row], limit: int, show: Callable[[Row], Shown]) -> Page[Shown]:
    """A page from rows that were asked for with `limit + 1`, to learn whether there are more."""
    kept = rows[:limit]
    return Page(items=[show(row) for row in kept], next=kept[-1].id if len(rows) > limit else None)
