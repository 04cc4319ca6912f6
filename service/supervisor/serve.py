"""The supervisor: the API and a worker as child processes of one command."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

import httpx

from service.process import lifeline, packages
from service.settings import Settings
from service.supervisor.child import Child
from service.supervisor.data_lock import DataLock, FolderInUseError, Holder
from service.supervisor.listening import NotBoundError, listen, url

STOP_SECONDS = 15.0
_LONGEST_PAUSE = 30.0
_SOUND_SECONDS = 60.0  # a worker that lived this long resets the back-off
_log = logging.getLogger(__name__)


def run(settings: Settings, *, with_worker: bool = True) -> int:
    """Serve until a signal (0) or until the API dies (its status, at least 1); 1 when it can't start."""
    stopping = _stopping_by_signal()
    lacking = packages.what_a_worker_lacks() if with_worker else None
    if lacking:
        return _refuse(f"{lacking}, or serve without a worker: `zoorank serve --no-worker`")
    lock = DataLock(settings.data_dir)
    try:
        lock.take()
        listening = listen(settings.host, settings.port)
    except (FolderInUseError, NotBoundError) as error:
        return _refuse(str(error))
    address, started = url(listening), time.time()
    lock.write(Holder(os.getpid(), address, started))
    if status := subprocess.run([sys.executable, "-m", "service.store.migrate"], check=False).returncode:
        return status  # it said why
    instance = secrets.token_hex(8)
    children = _children(settings, listening, lock, instance=instance, with_worker=with_worker)

    def note() -> None:
        running = {child.name: child.process.pid for child in children if child.process}
        lock.write(Holder(os.getpid(), address, started, running))

    try:
        for child in children:
            child.start()
        note()
        _log.warning(
            "serving on %s%s", address, "; the worker is starting" if with_worker else " without a worker"
        )
        announcement = (address, instance, "/readyz" if with_worker else "/healthz", stopping)
        threading.Thread(target=_announce, args=announcement, daemon=True).start()
        return _supervise(*children, stopping=stopping, started=note)
    finally:
        _stop(*children)


def _refuse(reason: str) -> int:
    _log.error("%s", reason)
    return 1


def _stopping_by_signal() -> threading.Event:
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # under nohup a closed terminal ends nothing
        signal.signal(signal.SIGHUP, stop)
    return stopping


def _children(
    settings: Settings, listening: socket.socket, lock: DataLock, *, instance: str, with_worker: bool
) -> list[Child]:
    """The API, and a worker where there shall be one. The API gets the socket that listens already."""
    shared = {
        "ZOORANK_DATA_DIR": str(settings.data_dir),
        "ZOORANK_HOST": settings.host,
        "ZOORANK_PORT": str(listening.getsockname()[1]),
        "ZOORANK_INSTANCE": instance,
    }
    environment = {**os.environ, **shared}
    python = [sys.executable, "-m"]
    served = [*python, "service.api", str(listening.fileno())]
    api = Child("API", served, environment, descriptors=(listening.fileno(), lock.fd))
    worker = Child("worker", [*python, "worker.main"], environment, descriptors=(lock.fd,))
    return [api, worker] if with_worker else [api]


def _announce(address: str, instance: str, path: str, stopping: threading.Event) -> None:
    """Print once that this very service is ready: its API answers, and what its worker can do is known."""
    while not stopping.wait(0.5):
        try:
            own = httpx.get(f"{address}/healthz", trust_env=False).json().get("instance") == instance
            if own and httpx.get(f"{address}{path}", trust_env=False).status_code == 200:
                print(f"ready: {address}", flush=True)
                return
        except (httpx.TransportError, ValueError):
            continue


def _supervise(api: Child, *workers: Child, stopping: threading.Event, started: Callable[[], None]) -> int:
    while not stopping.wait(0.2):
        if api.died is not None:
            _log.error("the API ended with status %s", api.died)
            return max(1, abs(api.died))
        for worker in workers:
            if worker.died is not None:
                _restart(worker, stopping)
                started()
    return 0


def _restart(worker: Child, stopping: threading.Event) -> None:
    lived = time.monotonic() - worker.started
    worker.pause = 0.5 if lived > _SOUND_SECONDS else min(worker.pause * 2, _LONGEST_PAUSE)
    _log.error("the worker ended with status %s; a new one starts in %.1f s", worker.died, worker.pause)
    until = time.monotonic() + lifeline.GRACE_SECONDS
    while worker.left_some and time.monotonic() < until and not stopping.wait(0.1):
        pass  # the processes of a killed worker give back what they work on, and end by themselves
    worker.kill_all()
    if not stopping.wait(worker.pause):
        worker.start()


def _stop(*children: Child) -> None:
    for child in children:
        child.signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline and any(child.process and child.died is None for child in children):
        time.sleep(0.05)
    for child in children:
        child.kill_all()
