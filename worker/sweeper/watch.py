"""The worker's side of its sweeper: start it, answer it, and start another when it died or stands still.

The worker writes lines: an empty one answers a sign of life, any other is the death of a child, as JSON.
"""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue

from service import jobs

SILENT_SECONDS = 120.0  # a sweeper that said nothing for so long is ended; it speaks every 10 s or oftener
_STOP_SECONDS = 3.0
_PAUSE = 1.0  # seconds before another one is started
_log = logging.getLogger(__name__)


class SweeperWatch(threading.Thread):
    """Keeps one sweeper running until stopped; the sweeper ends with this process in any case."""

    def __init__(self) -> None:
        super().__init__(name="sweeper", daemon=True)
        self._command = [sys.executable, "-m", "worker.sweeper", jobs.new_worker_id(), str(os.getpid())]
        self._over = threading.Event()
        self._deaths: SimpleQueue[bytes] = SimpleQueue()

    def tell_death(self, pid: int, fault: str | None) -> None:
        """Have the sweeper write that this child died at work; `fault` is how the job caused it, None: it did not.

        A sweeper that dies before it has written it loses it; then the lease of the job runs out.
        """
        self._deaths.put(json.dumps({"pid": pid, "fault": fault}).encode() + b"\n")

    def run(self) -> None:
        """Start a sweeper, and another whenever it ended or was silent for too long."""
        while not self._over.is_set():
            sweeper = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._answer(sweeper)
            _end(sweeper)
            if not self._over.wait(_PAUSE):
                _log.error("the sweeper ended with status %s; another one starts", sweeper.returncode)

    def stop(self) -> None:
        """End the sweeper, which writes that the worker stopped."""
        self._over.set()
        self.join(_STOP_SECONDS + _PAUSE)

    def _answer(self, sweeper: subprocess.Popen[bytes]) -> None:
        """Answer every sign of life, until it ended, is silent or this is stopped."""
        if sweeper.stdin is None or sweeper.stdout is None:
            raise ValueError("the sweeper has no pipes")
        said, answers = sweeper.stdout.fileno(), sweeper.stdin.fileno()
        heard = time.monotonic()
        while not self._over.is_set() and time.monotonic() - heard < SILENT_SECONDS:
            with suppress(BrokenPipeError):  # the next read says that it ended
                os.write(answers, self._news())
            if select.select([said], [], [], 0.5)[0]:
                if not os.read(said, 64):
                    return
                heard = time.monotonic()
                with suppress(BrokenPipeError):
                    os.write(answers, b"\n")

    def _news(self) -> bytes:
        try:
            return self._deaths.get_nowait()
        except Empty:
            return b""


def _end(sweeper: subprocess.Popen[bytes]) -> None:
    with sweeper:
        sweeper.terminate()
        try:
            sweeper.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            sweeper.kill()
