"""In a child: end it when it hangs, and when its parent is gone.

`worker/stopping.py` has a job end at its next step when the parent is gone. The thread of this module ends the
process afterwards, with or without that. Until then it sets an alarm anew every second. When no thread of Python
gets to run for a lease, as in a loop of C code that never lets go of the interpreter, the alarm ends the process
and prints where it hangs (`faulthandler`, whose own thread needs no interpreter). The parent sees that the child
ended by itself, which counts as its job's fault.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time

from billiard.util import set_pdeathsig

from service.settings import settings

SECONDS = 1.0
GRACE_SECONDS = 10.0  # for the job to be given back after the parent's end
ORPHANED = 3  # exit status
_STDERR = 2


def start() -> None:
    """Start the thread; called once in a fresh child."""
    if sys.platform == "linux":
        # Celery has children killed at once, and what they work on would wait for the end of its lease.
        set_pdeathsig(0)
    _set_alarm()
    threading.Thread(target=_run, args=(os.getppid(),), name="pulse", daemon=True).start()


def _run(parent: int) -> None:
    while os.getppid() == parent:
        _set_alarm()
        time.sleep(SECONDS)
    time.sleep(GRACE_SECONDS)
    os._exit(ORPHANED)


def _set_alarm() -> None:
    # By its number: Celery has put an object without a file in the place of `sys.stderr`.
    faulthandler.dump_traceback_later(settings().lease_seconds, exit=True, file=_STDERR)
