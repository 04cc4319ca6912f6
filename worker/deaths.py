"""In the worker's parent: whether the job of a child that died may have caused its death.

Celery calls a task's request when the child that worked on it is gone. The signal or exit status says why:

- A crash (SIGSEGV and its like), an exit of its own, and the time limit are the job's fault.
- SIGKILL is the job's fault where the kernel has killed a process for want of memory since the last death, by its
  counter (`oom_kill` of the control group's `memory.events`, else of `/proc/vmstat`). Else somebody else sent it.
- Every other signal was sent by somebody else.

A worker that stood still as a whole (a paused container, Ctrl-Z) goes on with children whose alarm
(`worker/pulse.py`) is overdue. So an exit does not count soon after the parent itself stood still.
"""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from billiard.einfo import ExceptionWithTraceback
from billiard.exceptions import WorkerLostError
from celery.worker.request import Request

from service.settings import settings

CRASHES = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGSYS})
_COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))
_ENDED = re.compile(r"(signal|exitcode) (\d+)")
TICK_SECONDS = 1.0
SOON_SECONDS = 60.0  # Celery tells of a death ten seconds after it, and later on a busy machine
Listener = Callable[[int, str | None], None]

_listeners: list[Listener] = []
_stood_still_at = float("-inf")  # by the monotonic clock


def listen(listener: Listener) -> None:
    """Call `listener` with the process id and the fault (None: not the job's) of every child that dies at work."""
    _listeners.append(listener)


def watch_for_standstill() -> None:
    """Start the thread that notes when this process, and with it all of the worker, stood still."""
    threading.Thread(target=_tick, name="standstill", daemon=True).start()


def _tick() -> None:
    global _stood_still_at
    last = time.monotonic()
    while True:
        time.sleep(TICK_SECONDS)
        now = time.monotonic()
        if now - last > TICK_SECONDS + settings().lease_seconds / 2:
            _stood_still_at = now
        last = now


def stood_still() -> bool:
    """Whether this process stood still for half a lease or longer, and went on a short time ago."""
    return time.monotonic() - _stood_still_at < SOON_SECONDS


def killed_for_memory() -> int | None:
    """How many processes the kernel has killed for want of memory here; None where it does not say."""
    for file in _COUNTERS:
        try:
            counts = dict(line.split(maxsplit=1) for line in file.read_text().splitlines())
            return int(counts["oom_kill"])
        except (OSError, KeyError, ValueError):
            continue
    return None


def fault_of(ended: str, *, out_of_memory: bool, after_standstill: bool = False) -> str | None:
    """What the job did by the words of Celery about the end of its process; None: it had no part in it."""
    how = _ENDED.search(ended)
    if how is None:
        return None
    number = int(how[2])
    if how[1] == "exitcode":
        if after_standstill:
            return None
        return f"its process ended by itself with status {number}; the worker's log has the details"
    if number in CRASHES:
        return f"its process crashed ({signal.Signals(number).name}); the worker's log has the details"
    if number == signal.SIGKILL and out_of_memory:
        return "the system ended it for want of memory; use a smaller batch_size or crop, or a larger machine"
    return None


class JobRequest(Request):
    """A task's request that tells the listeners when the child at work on it is gone."""

    killed = killed_for_memory()  # as of the last death

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """The pool is about to kill a child that worked for longer than the time limit."""
        super().on_timeout(soft, timeout)
        limit = f"{settings().task_seconds:g}"
        _tell(self.worker_pid, f"it ran longer than ZOORANK_TASK_SECONDS ({limit}); set more, or ask for less")

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        """The task failed, or its child is gone."""
        error = exc_info.exception
        error = error.exc if isinstance(error, ExceptionWithTraceback) else error
        if isinstance(error, WorkerLostError):
            before, JobRequest.killed = JobRequest.killed, killed_for_memory()
            out_of_memory = before != JobRequest.killed
            fault = fault_of(str(error), out_of_memory=out_of_memory, after_standstill=stood_still())
            _tell(self.worker_pid, fault)
        super().on_failure(exc_info, send_failed_event, return_ok)


def _tell(pid: int | None, fault: str | None) -> None:
    if pid is not None:
        for listener in _listeners:
            listener(pid, fault)
