"""A database that is away, a disk without room or out of reach pass: the same is tried again until then."""

from __future__ import annotations

import errno
import logging
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from service.settings import settings
from service.store.session import Session, transaction

# Seconds: a server restarts in half a second, a full disk waits for a person.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
_POSTGRES_READ_ONLY = "25006"  # a server that a failover has not made the first one yet
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_OUT_OF_REACH = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EMFILE, errno.ENFILE)
_SQLITE_CODE = 0xFF  # an extended code of SQLite has the plain one in its last byte
_SQLITE_PASSES = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
)
_log = logging.getLogger(__name__)
T = TypeVar("T")


def passes(error: BaseException) -> bool:
    """Whether the database is away or a disk is full or out of reach, so that the same may succeed later."""
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM + _OUT_OF_REACH
    if isinstance(error, DBAPIError) and isinstance(error.orig, sqlite3.Error):
        return getattr(error.orig, "sqlite_errorcode", 0) & _SQLITE_CODE in _SQLITE_PASSES
    if isinstance(error, DBAPIError):
        lost = error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
        return lost or getattr(error.orig, "sqlstate", None) == _POSTGRES_READ_ONLY
    return isinstance(error, PoolTimeoutError)


def outlast(act: Callable[[], T], *, meanwhile: Callable[[], object]) -> T:
    """What `act` gives, tried again while the database is away or a disk is full or out of reach.

    `meanwhile` is called before every new try and ends the waiting by an error of its own. After
    `ZOORANK_WAIT_SECONDS` the last error of `act` is raised.
    """
    until, pause = time.monotonic() + settings().wait_seconds, FIRST_PAUSE
    while True:
        try:
            return act()
        except Exception as error:
            if not passes(error) or time.monotonic() + pause > until:
                raise
            _log.warning("waiting for the database or the disk: %s", type(error).__name__)
        time.sleep(pause)
        meanwhile()
        pause = min(pause * 2, LONGEST_PAUSE)


def write(act: Callable[[Session], T], *, meanwhile: Callable[[], object]) -> T:
    """What `act` gives in a transaction of its own, tried again as a whole while the database is away."""

    def once() -> T:
        with transaction() as session:
            return act(session)

    return outlast(once, meanwhile=meanwhile)
