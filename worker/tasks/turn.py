"""What a message makes a worker do: work on the row that is first in line, whichever row the message names."""

from __future__ import annotations

from importlib import import_module

from service.jobs import order, reading
from worker.devices import host_name


def take_turn(_row_id: str) -> None:
    """Work on one row; on the next in line when another worker was faster; on nothing when no row waits."""
    passed: list[str] = []
    while (found := _first(passed)) is not None:
        job, row_id = found
        module, _, function = job.rpartition(".")
        if getattr(import_module(module), function)(row_id):
            return
        passed.append(row_id)


def _first(passed: list[str]) -> tuple[str, str] | None:
    with reading() as session:
        found = order.first(session, host=host_name(), passed=passed)
    return None if found is None else (found[0].job, found[1])
