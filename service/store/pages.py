"""Cursor pages: newest first, the cursor is the last id seen."""

from __future__ import annotations

from typing import Any, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

Row = TypeVar("Row")


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
