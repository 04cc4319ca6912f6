"""API and workers on one database and one broker, each started again whenever it has died."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.servers import Postgres, Redis
from service.process import lifeline

ROOT = Path(__file__).parents[1]
WORKERS = 2
RESTART_SECONDS = 1.0  # between the death of an API or a worker and the next one


class Kept:
    """A process that is started again whenever it has died; it ends with this process."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self._command, self._environment, self._log = command, environment, log
        self._over = threading.Event()
        self._start()
        threading.Thread(target=self._keep, daemon=True).start()

    @property
    def pid(self) -> int:
        """The process that runs now, or ran last."""
        return self.process.pid

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                env={**self._environment, **lifeline.environment()},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _keep(self) -> None:
        while not self._over.wait(0.1):
            if self.process.poll() is not None and not self._over.wait(RESTART_SECONDS):
                self._start()

    def stop(self) -> None:
        """End it as an operator does."""
        self._over.set()
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()


class Service:
    """API and workers on one database and one broker, in a data folder of their own."""

    def __init__(self, work: Path, name: str, postgres: Postgres, redis: Redis) -> None:
        self.name, self.postgres, self.redis = name, postgres, redis
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        own = {key: value for key, value in os.environ.items() if not key.startswith("ZOORANK_")}
        self.data = work / name
        environment = {
            **own,
            "PYTHONPATH": str(ROOT),
            "ZOORANK_DATA_DIR": str(self.data),
            "ZOORANK_ROOTS": str(work),
            "ZOORANK_DATABASE_URL": postgres.url(name),
            "ZOORANK_BROKER_URL": redis.url,
            "ZOORANK_PORT": str(port),
            "ZOORANK_DEVICES": "cpu",
        }
        postgres.create(name)
        python = [sys.executable, "-m"]
        subprocess.run([*python, "service.store.migrate"], env=environment, check=True)
        log = work / f"{name}.log"
        self.api = Kept([*python, "service.api"], environment, log)
        self.workers = [Kept([*python, "worker.main"], environment, log) for _ in range(WORKERS)]
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    def stop(self) -> list[str]:
        """End all; the processes that are left after that, by their command."""
        for kept in (*self.workers, self.api):
            kept.stop()
        time.sleep(1)
        left = _processes_with("ZOORANK_DATA_DIR", str(self.data))
        for process in left:
            process.kill()
        return [" ".join(process.cmdline()) for process in left]

    def get(self, path: str) -> Any:
        """The JSON of this address; None while the API or its database is away."""
        try:
            answer = self.http.get(path)
        except httpx.TransportError:
            return None
        return answer.json() if answer.is_success else None

    def post(self, path: str, body: dict[str, Any]) -> str:
        """The id of what was made."""
        answer = self.http.post(path, json=body)
        answer.raise_for_status()
        return str(answer.json()["id"])

    def victims(self, what: str) -> list[int]:
        """The processes of this kind that run now."""
        if what == "API":
            return [self.api.pid]
        parents = [worker.pid for worker in self.workers]
        if what == "worker's parent":
            return parents
        below = [child for parent in parents for child in _children(parent)]
        sweepers = [child.pid for child in below if "worker.sweeper" in _command(child)]
        if what == "sweeper":
            return sweepers
        return [child.pid for child in below if child.pid not in sweepers]


def _processes_with(variable: str, value: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(variable) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
