"""The supervisor: the API and a worker as child processes of one command."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from types import FrameType

import httpx

from service.settings import Settings

STOP_SECONDS = 15.0
_LONGEST_PAUSE = 30.0
_SOUND_SECONDS = 60.0  # a worker that lived this long resets the back-off
_log = logging.getLogger(__name__)


@dataclass
class _Child:
    """A child process in a process group of its own, so that its children end with it."""

    command: list[str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = field(default=0.5)

    def start(self) -> None:
        self.started = time.monotonic()
        self.process = subprocess.Popen(self.command, env=self.environment, start_new_session=True)

    @property
    def died(self) -> int | None:
        return None if self.process is None else self.process.poll()

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)

    def kill_all(self) -> None:
        """Kill every process that is left of the group."""
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return
            self.process.wait()


def run(settings: Settings) -> int:
    """Serve until a signal (0) or until the API dies (its status, at least 1)."""
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # under nohup a closed terminal ends nothing
        signal.signal(signal.SIGHUP, stop)
    subprocess.run([sys.executable, "-m", "service.store.migrate"], check=True)
    port = settings.port or _free_port(settings.host)
    api, worker = _children(settings, port)
    try:
        api.start()
        worker.start()
        address = f"http://{settings.host}:{port}"
        _log.warning("serving on %s; the worker is starting", address)
        threading.Thread(target=_announce, args=(address, stopping), daemon=True).start()
        return _supervise(api, worker, stopping)
    finally:
        _stop(api, worker)


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _children(settings: Settings, port: int) -> tuple[_Child, _Child]:
    shared = {
        "ZOORANK_DATA_DIR": str(settings.data_dir),
        "ZOORANK_HOST": settings.host,
        "ZOORANK_PORT": str(port),
    }
    environment = {**os.environ, **shared}
    uvicorn = ["-m", "uvicorn", "service.api.app:create_app", "--factory", "--timeout-graceful-shutdown", "5"]
    where = ["--host", settings.host, "--port", str(port), "--log-level", settings.log_level.lower()]
    api = _Child([sys.executable, *uvicorn, *where, "--no-access-log"], environment)
    return api, _Child([sys.executable, "-m", "worker.main"], environment)


def _announce(address: str, stopping: threading.Event) -> None:
    """Print once that the service is ready: the API answers and a worker has published its capabilities."""
    while not stopping.wait(0.5):
        try:
            if httpx.get(f"{address}/readyz", trust_env=False).status_code == 200:
                print(f"ready: {address}", flush=True)
                return
        except httpx.TransportError:
            continue


def _supervise(api: _Child, worker: _Child, stopping: threading.Event) -> int:
    while not stopping.wait(0.2):
        if api.died is not None:
            _log.error("the API ended with status %s", api.died)
            return max(1, abs(api.died))
        if worker.died is not None:
            _restart(worker, stopping)
    return 0


def _restart(worker: _Child, stopping: threading.Event) -> None:
    lived = time.monotonic() - worker.started
    worker.pause = 0.5 if lived > _SOUND_SECONDS else min(worker.pause * 2, _LONGEST_PAUSE)
    _log.error("the worker ended with status %s; a new one starts in %.0f s", worker.died, worker.pause)
    worker.kill_all()
    if not stopping.wait(worker.pause):
        worker.start()


def _stop(*children: _Child) -> None:
    for child in children:
        child.signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline and any(child.process and child.died is None for child in children):
        time.sleep(0.05)
    for child in children:
        child.kill_all()
