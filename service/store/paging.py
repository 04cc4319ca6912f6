"""Cursor pages, newest first, and rows by many names at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import InstrumentedAttribute, Session

Row = TypeVar("Row")
_AT_ONCE = 500  # parameters of one statement


def page(
    session: Session,
    query: Select[Row],
    column: InstrumentedAttribute[Any],
    *,
    after: str | None,
    limit: int,
) -> list[Row]:
    """At most `limit` rows of `query` that come after the id `after`."""
    if after:
        query = query.where(column < after)
    return list(session.scalars(query.order_by(column.desc()).limit(limit)))


def with_names(
    session: Session, table: type[Row], column: InstrumentedAttribute[str], names: Collection[str]
) -> Iterator[Row]:
    """Every row that has one of these names."""
    ordered = sorted(names)
    for start in range(0, len(ordered), _AT_ONCE):
        yield from session.scalars(select(table).where(column.in_(ordered[start : start + _AT_ONCE])))
