"""`python -m worker.sweeper ID PID`: the sweeper of the worker with this id, whose parent process is PID."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from service import jobs
from service.jobs import answers, ending, presence
from service.process import lifeline
from service.settings import settings_or_exit
from worker.devices import device_names, host_name, process_name

STOP_SECONDS = 5  # after the worker's end, for writing that it stopped
_STDIN, _STDOUT = 0, 1
_ANSWERS = "answers"
_stopping = threading.Event()
_heard = bytearray()  # what the worker wrote and is not read yet
_deaths: list[dict[str, Any]] = []  # of children, not written yet
_log = logging.getLogger("worker.sweeper")


def main(worker_id: str, pid: int) -> None:
    """Say that the worker lives, and sweep, until it ends; then write that it stopped."""
    logging.basicConfig(
        level=settings_or_exit().log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends them to the worker too, which ends first
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    lifeline.get_sigterm_after(pid)
    worker = jobs.Worker(id=worker_id, host=host_name(), pid=pid, devices=device_names())
    answered: bool | None = True
    while answered is not None:
        if answered:
            _attempt("saying that the worker lives", lambda: presence.say_alive(worker))
        _write_deaths()
        _attempt("the sweep", _sweep)
        answered = _ask(pid, seconds=presence.beat_seconds())
    _attempt("saying that the worker stopped", lambda: presence.say_stopped(worker))


def _sweep() -> None:
    """Sweep when it is due. Overdue answers are stored in a thread, since deriving one can take minutes."""
    if not presence.sweep_when_due() or any(thread.name == _ANSWERS for thread in threading.enumerate()):
        return
    store = partial(_attempt, "storing overdue answers", answers.store_overdue)
    threading.Thread(target=store, name=_ANSWERS, daemon=True).start()


def _stop(*_: object) -> None:
    """Write that the worker stopped, within `STOP_SECONDS`: the alarm ends a process that the database keeps."""
    _stopping.set()
    signal.alarm(STOP_SECONDS)


def _attempt(what: str, act: Callable[[], object]) -> bool:
    """Whether it succeeded. The database may be away for a while; the next beat tries again."""
    try:
        act()
        return True
    except Exception as error:
        _log.warning("%s failed and is tried again: %s", what, type(error).__name__)
        _log.debug("%s failed", what, exc_info=error)
        return False


def _write_deaths() -> None:
    """Write the deaths of children that the worker has told of; what fails is tried again at the next beat."""
    *lines, rest = bytes(_heard).split(b"\n")
    _heard[:] = rest
    _deaths.extend(json.loads(line) for line in lines if line)
    while _deaths and _attempt("writing the death of a child", lambda: _write_death(**_deaths[0])):
        del _deaths[0]


def _write_death(pid: int, fault: str | None) -> None:
    with jobs.transaction() as session:
        ending.child_died(session, process_name(pid), fault)


def _ask(pid: int, *, seconds: float) -> bool | None:
    """Whether the worker answered within these seconds, all of which are waited; None as soon as it has ended."""
    until, answered = time.monotonic() + seconds, False
    with suppress(BrokenPipeError):
        os.write(_STDOUT, b".")
        while (left := until - time.monotonic()) > 0 and os.getppid() == pid and not _stopping.is_set():
            if select.select([_STDIN], [], [], min(left, 1.0))[0]:
                news = os.read(_STDIN, 65536)
                if not news:
                    return None
                answered = True
                _heard.extend(news)
                if b"}" in news:  # a death, which is written at once
                    return answered
    return None if _stopping.is_set() or os.getppid() != pid else answered


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
