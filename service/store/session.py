"""Sessions: one way to read and one way to write; messages go out after the commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Engine, Float, create_engine, event
from sqlalchemy.exc import IntegrityError as TakenError
from sqlalchemy.exc import SQLAlchemyError as DatabaseError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement

from service.settings import private_folder, settings
from service.store import patience

__all__ = [
    "DatabaseError",
    "Session",
    "TakenError",
    "after_commit",
    "database_now",
    "engine",
    "forget_rows",
    "is_missing_reference",
    "make_engine",
    "reading",
    "transaction",
]


class database_now(FunctionElement[float]):  # noqa: N801 - an SQL function
    """The database's own clock, in seconds since 1970: leases compare one clock, whoever asks."""

    type = Float()
    inherit_cache = True


@compiles(database_now, "sqlite")
def _sqlite_now(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now, "postgresql")
def _postgresql_now(*_: Any, **__: Any) -> str:
    return "extract(epoch from clock_timestamp())::float8"


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's BEGIN below, not the driver's
    for pragma in ("journal_mode=WAL", "busy_timeout=30000", "foreign_keys=ON", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writing = connection.get_execution_options().get("writing")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


_FOREIGN_KEY = "23503"  # SQLSTATE


def is_missing_reference(error: TakenError) -> bool:
    """Whether what a row refers to is not there, or what is removed is referred to."""
    if isinstance(error.orig, sqlite3.Error):
        return error.orig.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
    return getattr(error.orig, "sqlstate", None) == _FOREIGN_KEY


POOL_SECONDS = 5.0  # for a connection of this process


def make_engine(url: str, *, statement_seconds: float | None = None) -> Engine:
    """An engine for SQLite (WAL, immediate writers) or PostgreSQL, whose statements may take this long."""
    if not url.startswith("sqlite"):
        arguments = patience.limits(url, statement_seconds=statement_seconds)
        engine = create_engine(url, pool_pre_ping=True, pool_timeout=POOL_SECONDS, connect_args=arguments)
        if statement_seconds is not None:
            patience.give_up_after(engine, statement_seconds * patience.ANSWER_SHARE)
        return engine
    engine = create_engine(url)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


@lru_cache
def engine() -> Engine:
    """The engine of this process, on the configured database."""
    config = settings()
    private_folder(config.data_dir)
    return make_engine(config.database, statement_seconds=config.statement_seconds)


@contextmanager
def reading() -> Iterator[Session]:
    """A session for queries only; all of them see the database at one moment."""
    database = engine()
    if database.dialect.name == "postgresql":  # SQLite's BEGIN does so by itself
        database = database.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with Session(database) as session:
        yield session


def forget_rows(session: Session) -> None:
    """Read every row again at its next use, as it is in the database then; write changes to rows before."""
    session.expire_all()


@contextmanager
def transaction() -> Iterator[Session]:
    """A writing session: it commits at the end, then calls what `after_commit` was given."""
    with Session(engine().execution_options(writing=True), expire_on_commit=False) as session:
        with session.begin():
            yield session
        for act in session.info.get("after_commit", {}).values():
            act()


def after_commit(session: Session, name: str, act: Callable[[], None]) -> None:
    """Call `act` once this session's transaction has committed; a second `act` of the same name replaces it."""
    session.info.setdefault("after_commit", {})[name] = act
