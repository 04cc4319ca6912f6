"""How long a process waits for PostgreSQL: to connect, for a lock, for a statement, for any answer at all.

A server that has stopped still has an operating system that acknowledges what is sent to it, so neither its own
limits nor those of TCP end the waiting. The connection then ends it by itself.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Engine, event, make_url

ANSWER_SHARE = 1.25  # of the limit of a statement: by then the server has said that the statement was canceled
LOCK_SHARE = 0.5  # of the limit of a statement, so that a lock is named as what was waited for
_LIMITS = {
    "connect_timeout": 5,  # seconds, of which a server that hangs at once takes all
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # milliseconds without a sign of life from the other machine
}
T = TypeVar("T")


def limits(url: str, *, statement_seconds: float | None) -> dict[str, str | int]:
    """The connection's arguments that limit waiting; what the URL says itself stays. None: statements may wait."""
    given = make_url(url).query
    arguments: dict[str, str | int] = {name: limit for name, limit in _LIMITS.items() if name not in given}
    if statement_seconds is not None:
        milliseconds = {"statement_timeout": statement_seconds, "lock_timeout": statement_seconds * LOCK_SHARE}
        ours = " ".join(f"-c {name}={round(1000 * seconds)}" for name, seconds in milliseconds.items())
        arguments["options"] = f"{ours} {given.get('options', '')}".strip()  # of two, the last one counts
    return arguments


def give_up_after(engine: Engine, seconds: float) -> None:
    """Make every connection of `engine` break when an answer takes longer than this."""

    class Connection(psycopg.Connection[Any]):
        def wait(self, gen: Generator[Any, Any, T], *interval: Any, **more: Any) -> T:
            return super().wait(_within(seconds, gen, self), *interval, **more)

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: object, _record: object, arguments: list[Any], more: dict[str, Any]) -> Connection:
        return Connection.connect(*arguments, **more)


def _within(
    seconds: float, steps: Generator[Any, Any, T], connection: psycopg.Connection[Any]
) -> Generator[Any, Any, T]:
    """The same steps of waiting; psycopg makes one when the socket is ready, and ten times a second."""
    until = time.monotonic() + seconds
    ready = None
    while True:
        try:
            state = steps.send(ready)
        except StopIteration as end:
            result: T = end.value
            return result
        ready = yield state
        if not ready and time.monotonic() > until:
            connection.pgconn.finish()
            raise psycopg.OperationalError(f"the database did not answer within {seconds:g} s")
