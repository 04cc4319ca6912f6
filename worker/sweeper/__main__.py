"""`python -m worker.sweeper ID PID`: the sweeper of the worker with this id, whose parent process is PID."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from service import jobs
from service.jobs import presence
from service.process import lifeline
from service.settings import settings_or_exit
from worker.devices import device_names

STOP_SECONDS = 5  # after the worker's end, for writing that it stopped
_STDIN, _STDOUT = 0, 1
_stopping = threading.Event()
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
    worker = jobs.Worker(id=worker_id, host=socket.gethostname(), pid=pid, devices=device_names())
    answered: bool | None = True
    while answered is not None:
        if answered:
            _attempt("saying that the worker lives", lambda: presence.say_alive(worker))
        _attempt("the sweep", presence.sweep_when_due)
        answered = _ask(pid, seconds=presence.beat_seconds())
    _attempt("saying that the worker stopped", lambda: presence.say_stopped(worker))


def _stop(*_: object) -> None:
    """Write that the worker stopped, within `STOP_SECONDS`: the alarm ends a process that the database keeps."""
    _stopping.set()
    signal.alarm(STOP_SECONDS)


def _attempt(what: str, act: Callable[[], object]) -> None:
    """The database may be away for a while; the next beat tries again."""
    try:
        act()
    except Exception as error:
        _log.warning("%s failed and is tried again: %s", what, type(error).__name__)
        _log.debug("%s failed", what, exc_info=error)


def _ask(pid: int, *, seconds: float) -> bool | None:
    """Whether the worker answered within these seconds, all of which are waited; None as soon as it has ended."""
    until, answered = time.monotonic() + seconds, False
    with suppress(BrokenPipeError):
        os.write(_STDOUT, b".")
        while (left := until - time.monotonic()) > 0 and os.getppid() == pid and not _stopping.is_set():
            if select.select([_STDIN], [], [], min(left, 1.0))[0]:
                answered = bool(os.read(_STDIN, 64))
                if not answered:
                    return None
    return None if _stopping.is_set() or os.getppid() != pid else answered


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
