"""A child process of the supervisor, in a process group of its own, so that its children end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from service.process import lifeline


@dataclass
class Child:
    """One command that runs once at a time. It ends when this process ends (`service.process.lifeline`)."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    descriptors: Sequence[int] = ()
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = field(default=0.5)

    def start(self) -> None:
        """Start it, also again. The main thread calls it: Linux ends the child with the thread that started it."""
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            env={**self.environment, **lifeline.environment()},
            stdin=subprocess.PIPE,
            start_new_session=True,
            pass_fds=self.descriptors,
        )

    @property
    def died(self) -> int | None:
        """Its exit status once it has ended; negative for a signal."""
        return None if self.process is None else self.process.poll()

    def signal(self, number: int) -> None:
        """Send it a signal if it runs."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)

    @property
    def left_some(self) -> bool:
        """Whether any process of its group still runs."""
        if self.process is None:
            return False
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def kill_all(self) -> None:
        """Kill every process that is left of the group."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        else:
            self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
