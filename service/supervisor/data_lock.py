"""One `zoorank serve` at a time on a data folder: a file that it and its children hold locked.

The children inherit the lock. So it is free only when nothing of an earlier service runs any more, however that
service ended.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from service.process import lifeline
from service.settings import private_folder

FILE = "serve.lock"
_PATIENCE = lifeline.GRACE_SECONDS + 5.0  # children of a killed service end by themselves within the grace
_log = logging.getLogger(__name__)


class FolderInUseError(Exception):
    """Another service holds the data folder; says which, since when, and how to end it."""


@dataclass(frozen=True)
class Holder:
    """Who holds the lock: the process of `zoorank serve`, its address, when it started, its children by name."""

    pid: int
    address: str
    since: float
    children: Mapping[str, int] = field(default_factory=dict)


class DataLock:
    """The lock on a data folder, held until this process and all its children have ended."""

    def __init__(self, folder: Path) -> None:
        self._path = private_folder(folder) / FILE
        self.fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)

    def take(self) -> None:
        """Take the lock once the children of a killed service have ended; FolderInUseError when it stays held."""
        until = time.monotonic() + _PATIENCE
        waited = False
        while not self._locked():
            holder = self._holder()
            if holder is None or _runs(holder.pid) or time.monotonic() > until:
                raise FolderInUseError(_in_use(self._path, holder))
            if not waited:
                _log.warning("the service before was killed; waiting until its processes have ended")
            waited = True
            time.sleep(0.2)

    def write(self, holder: Holder) -> None:
        """Note who holds the lock."""
        os.truncate(self.fd, 0)
        os.pwrite(self.fd, json.dumps(asdict(holder)).encode(), 0)

    def _locked(self) -> bool:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _holder(self) -> Holder | None:
        try:
            return Holder(**json.loads(self._path.read_text()))
        except (ValueError, TypeError):  # it is being written
            return None


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _in_use(path: Path, holder: Holder | None) -> str:
    if holder is None:
        return f"the data folder {path.parent} is in use by a service that is just starting"
    since = datetime.fromtimestamp(holder.since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if _runs(holder.pid):
        return (
            f"the data folder {path.parent} is in use: process {holder.pid} serves it at {holder.address} since "
            f"{since}; end it with `kill {holder.pid}`, or take another folder with --data"
        )
    left = {name: pid for name, pid in holder.children.items() if _runs(pid)}
    named = ", ".join(f"{pid} ({name})" for name, pid in left.items()) or f"any that `fuser {path}` names"
    pids = " ".join(str(pid) for pid in left.values()) or "..."
    return (
        f"the data folder {path.parent} is in use: of a service that was killed, these run since {since}: "
        f"{named}; end them with `kill -9 {pids}`, then start again"
    )
