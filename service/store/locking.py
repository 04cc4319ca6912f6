"""Row locks: what a transaction has looked at stays so until it is over."""

from __future__ import annotations

from typing import Any, TypeVar

from sqlalchemy import Select

Row = TypeVar("Row", bound=Any)


def for_update(query: Select[Row]) -> Select[Row]:
    """The query, which waits for others that write its rows, then keeps them from writing.

    On SQLite a writing transaction is alone anyway.
    """
    return query.with_for_update().execution_options(populate_existing=True)
