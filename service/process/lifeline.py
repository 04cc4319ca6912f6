"""A child process that ends when its parent ends, however the parent ended.

The parent starts the child with `environment()` and with a pipe as its standard input, and keeps the other end of
the pipe open. The child calls `end_with_parent()` first of all. On Linux the kernel then sends it SIGTERM when the
thread that started it ends. Everywhere the end of the pipe says the same.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping

GRACE_SECONDS = 15.0  # from SIGTERM to SIGKILL
_PARENT = "ZOORANK_PARENT_PID"
_STDIN = 0
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


def environment() -> Mapping[str, str]:
    """What a parent adds to the environment of a child that shall end with it."""
    return {_PARENT: str(os.getpid())}


def end_with_parent() -> None:
    """Get SIGTERM when the parent ends, and SIGKILL for this process's own group `GRACE_SECONDS` later.

    Nothing happens in a process that was not started with `environment()`.
    """
    parent = os.environ.pop(_PARENT, "")
    if parent:
        get_sigterm_after(int(parent))
        threading.Thread(target=_watch, name="lifeline", daemon=True).start()


def get_sigterm_after(parent: int) -> None:
    """On Linux, have SIGTERM sent to this process when its parent ends, also when it ended already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def _watch() -> None:
    while os.read(_STDIN, 64):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
