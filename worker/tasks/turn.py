"""What a message makes a worker do: work on the row that is first in line, whichever row the message names."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

from service.jobs import order, outlast, reading
from worker.devices import host_name
from worker.tasks.lease import StoppedError, stop_when_asked


def take_turn(_row_id: str) -> None:
    """Work on one row; on the next in line when another worker was faster; on nothing when no row waits.

    A database that is away is waited for, until the worker stops.
    """
    with suppress(StoppedError):
        _take_turn()


def _take_turn() -> None:
    passed: list[str] = []
    while (found := _first(passed)) is not None:
        job, row_id = found
        module, _, function = job.rpartition(".")
        if getattr(import_module(module), function)(row_id):
            return
        passed.append(row_id)


def _first(passed: list[str]) -> tuple[str, str] | None:
    row = outlast(lambda: _look(passed), meanwhile=stop_when_asked)
    return None if row is None else (row[0].job, row[1])


def _look(passed: list[str]) -> order.Place | None:
    with reading() as session:
        return order.first(session, host=host_name(), passed=passed)
