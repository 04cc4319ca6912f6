"""The worker's side of the reading process: asks it about one file at a time."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from models_zoo.machine import memory
from service.settings import settings
from worker.reading.files import OpenFile
from worker.science.errors import ScienceError

Json = dict[str, Any]
PULSE_SECONDS = 0.2  # between two looks whether the job still is this worker's
START_SECONDS = 300.0  # to import torch on a machine under load
MARGIN_SECONDS = 60.0  # beyond the limit that the reading process keeps itself, to fork and to end a child
_log = logging.getLogger(__name__)


class ReadingError(Exception):
    """The reading process failed for a reason of its own, which its log names."""


class _EndedError(Exception):
    """The reading process is gone; holds its exit status, negative for a signal."""


class Reader:
    """One reading process, started when it is needed and replaced once it has ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """The reading process that runs now; None where none does."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def read(self, reading: str, file: OpenFile, arguments: Json, *, pulse: Callable[[], None]) -> Json:
        """What a reading of `worker.reading.untrusted` finds in a file; ScienceError with the reason if nothing.

        OSError when the file system fails, which may pass.
        `pulse` is called while it lasts and may raise to stop it.
        """
        config = settings()
        share = int(memory() * config.read_memory_share)
        limits = {"memory": share, "seconds": config.read_seconds}
        answer = self._asked({"reading": reading, "arguments": arguments, **limits}, file, pulse=pulse)
        if "found" in answer:
            found: Json = answer["found"]
            return found
        if "error" in answer:
            _log.error("reading %s: %s", file.path, answer["trace"])
            if answer["errno"]:
                raise OSError(answer["errno"], os.strerror(answer["errno"]))
            raise ReadingError(answer["error"])
        raise ScienceError(answer.get("reason") or _why_ended(file.path.name, answer, share))

    def close(self) -> None:
        """End the process, if there is one, at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._socket is not None:
            self._socket.close()
        self._process = self._socket = None

    def _asked(self, request: Json, file: OpenFile, *, pulse: Callable[[], None]) -> Json:
        """The answer; asked again of a new process where the one that had nothing to do for a while just ended."""
        try:
            try:
                return self._exchanged(request, file, pulse=pulse)
            except _EndedError:
                return self._exchanged(request, file, pulse=pulse)
        except _EndedError as ended:
            return {"ended": ended.args[0]}
        except BaseException:
            self.close()
            raise

    def _exchanged(self, request: Json, file: OpenFile, *, pulse: Callable[[], None]) -> Json:
        if self.pid is None:
            self.close()
            self._start()
            self._line(within=START_SECONDS, pulse=pulse)
        assert self._socket is not None  # noqa: S101 - it was just started
        file.stream.seek(0)
        line = json.dumps(request).encode() + b"\n"
        try:
            sent = socket.send_fds(self._socket, [line], [file.stream.fileno()])
            self._socket.sendall(line[sent:])
        except OSError:
            raise _EndedError(self._status()) from None
        return self._line(within=request["seconds"] + MARGIN_SECONDS, pulse=pulse)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        hidden = {name: value for name, value in os.environ.items() if not name.startswith("ZOORANK_")}
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "worker.reading.process", str(os.getpid())],
                stdin=theirs.fileno(),
                env={**hidden, "CUDA_VISIBLE_DEVICES": ""},
            )
        self._socket = ours

    def _line(self, *, within: float, pulse: Callable[[], None]) -> Json:
        """The next line; _EndedError when the process ends before, TimeoutError when it says nothing in time."""
        assert self._socket is not None  # noqa: S101 - only asked of a process that was started
        deadline, parts = time.monotonic() + within, bytearray()
        while not parts.endswith(b"\n"):
            pulse()
            if time.monotonic() > deadline:
                raise TimeoutError("the reading process gave no answer")
            if select.select([self._socket], [], [], PULSE_SECONDS)[0]:
                part = self._received()
                if not part:
                    raise _EndedError(self._status())
                parts += part
        answer: Json = json.loads(parts)
        return answer

    def _received(self) -> bytes:
        assert self._socket is not None  # noqa: S101 - as above
        try:
            return self._socket.recv(1 << 16)
        except ConnectionError:
            return b""

    def _status(self) -> int:
        assert self._process is not None  # noqa: S101 - as above
        return self._process.wait()


def _why_ended(name: str, answer: Json, share: int) -> str:
    """The reason why a file could not be read, from what the reading process says instead of what it found."""
    status = answer.get("ended", 0)
    if "too_slow" in answer or status == -signal.SIGXCPU:
        return (
            f"uri: {name} could not be read in {settings().read_seconds:g} s; save it again in a plain form, or "
            "set ZOORANK_READ_SECONDS higher"
        )
    # SIGKILL is the kernel's choice when the memory of a machine or a container is used up.
    if "out_of_memory" in answer or status in (0, -signal.SIGKILL):
        return (
            f"uri: {name} needs more memory to be read than the {share / 2**30:.1f} GiB that it may take; make it "
            "smaller, set ZOORANK_READ_MEMORY_SHARE higher, or use a larger machine"
        )
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    return f"uri: reading {name} ended the process that reads it ({how}); save it again in a plain form"


_reader = Reader()


def reader() -> Reader:
    """This process's reader."""
    return _reader
