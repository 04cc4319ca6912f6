"""Rows for tests of any table: what a column must hold is made up from its type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from itertools import count
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from sqlalchemy import inspect

from service.store.session import Session
from service.store.tables import Base, Content, Worked

_NUMBERS = count(1)
_PLAIN: dict[Any, Any] = {int: 1, float: 1.0, bool: True}


def example(kind: Any) -> Any:
    """The plainest value of a type: text that occurs once, 1, nothing where that is allowed."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return None if NoneType in arguments else example(arguments[0])
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        required = [one.name for one in fields(kind) if one.default is one.default_factory is MISSING]
        return kind(**{name: example(hints[name]) for name in required})  # type: ignore[operator]
    if origin is tuple:
        return tuple(example(argument) for argument in arguments if argument is not Ellipsis)
    if origin in (dict, list, Mapping):
        return [] if origin is list else {}
    return f"text-{next(_NUMBERS)}" if kind is str else _PLAIN[kind]


def queued(session: Session, table: type[Base]) -> Any:
    """A new row of this table, and of those that it cannot be without."""
    mapper, values = inspect(table), dict[str, Any]()
    hints = get_type_hints(table)
    for column in mapper.columns:
        if column.nullable or column.default is not None:
            continue
        parents = [key.column.table for key in column.foreign_keys]
        if parents:
            [parent] = [other.class_ for other in Base.registry.mappers if other.local_table is parents[0]]
            values[column.key] = queued(session, parent).id
        else:
            [kind] = get_args(hints[column.key])
            values[column.key] = example(kind)
    row = table(**values)
    session.add(row)
    session.flush()
    return row


def results(table: type[Worked]) -> dict[str, Any]:
    """What a worker may write at the end of a row: an example of each content that is empty until then."""
    columns = inspect(table).columns
    return {one.key: example(one.type.kind) for one in columns if one.nullable and isinstance(one.type, Content)}
