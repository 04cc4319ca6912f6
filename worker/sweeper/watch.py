"""The worker's side of its sweeper: start it, answer it, and start another when it died or stands still."""

from __future__ import annotations

import logging
import os
import select
import subprocess
import sys
import threading
import time
from contextlib import suppress

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
            if select.select([said], [], [], 0.5)[0]:
                if not os.read(said, 64):
                    return
                heard = time.monotonic()
                with suppress(BrokenPipeError):  # the next read says that it ended
                    os.write(answers, b".")


def _end(sweeper: subprocess.Popen[bytes]) -> None:
    with sweeper:
        sweeper.terminate()
        try:
            sweeper.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            sweeper.kill()
