"""Why a child died, what that means for its job, and that no child hangs for ever or outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from billiard.common import human_status
from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError

from service import queue
from service.jobs import order
from service.jobs.claims import claim
from service.settings import Settings
from service.store.session import reading, transaction
from service.store.tables import Dataset
from tests.service.conftest import add_dataset
from worker import deaths
from worker.main import register_tasks


def _ended(status: int) -> str:
    """The words of billiard about a child that ended with this status; a signal is negative."""
    return f"Worker exited prematurely: {human_status(status)} Job: 3."


@pytest.mark.parametrize(
    ("status", "out_of_memory", "fault"),
    [
        (-signal.SIGSEGV, False, "SIGSEGV"),
        (-signal.SIGABRT, False, "SIGABRT"),
        (-signal.SIGKILL, True, "want of memory"),
        (1, False, "status 1"),
        (-signal.SIGKILL, False, None),
        (-signal.SIGTERM, True, None),
        (-signal.SIGHUP, False, None),
    ],
)
def test_a_death_is_the_jobs_fault_or_nobody_knows(status: int, out_of_memory: bool, fault: str | None) -> None:
    said = deaths.fault_of(_ended(status), out_of_memory=out_of_memory)
    assert (said is None) == (fault is None)
    assert fault is None or fault in (said or "")


def test_the_parent_hears_which_child_died_and_why(monkeypatch: pytest.MonkeyPatch, configured: Settings) -> None:
    heard: list[tuple[int, str | None]] = []
    monkeypatch.setattr(deaths, "_listeners", [lambda pid, fault: heard.append((pid, fault))])
    task = register_tasks(queue.app()).tasks[Dataset.job]
    assert task.Request == "worker.deaths:JobRequest"
    request = deaths.JobRequest.__new__(deaths.JobRequest)
    request.worker_pid = 17
    monkeypatch.setattr(deaths.Request, "on_failure", lambda *_: None)
    for status in (-signal.SIGSEGV, -signal.SIGKILL):
        try:
            raise WorkerLostError(_ended(status))
        except WorkerLostError:
            request.on_failure(ExceptionInfo())
    assert [pid for pid, _ in heard] == [17, 17]
    assert "SIGSEGV" in (heard[0][1] or "")
    assert heard[1][1] is None


_STANDSTILL = """
import sys
from worker import deaths
deaths.watch_for_standstill()
for line in sys.stdin:
    print(deaths.fault_of("exitcode 1", out_of_memory=False, after_standstill=deaths.stood_still()), flush=True)
"""


def test_an_exit_after_a_standstill_of_the_whole_worker_does_not_count() -> None:
    own = {**os.environ, "ZOORANK_LEASE_SECONDS": "2"}
    command, pipe = [sys.executable, "-c", _STANDSTILL], subprocess.PIPE
    with subprocess.Popen(command, env=own, stdin=pipe, stdout=pipe, text=True, bufsize=1) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write("\n")
        assert "status 1" in worker.stdout.readline()
        worker.send_signal(signal.SIGSTOP)
        time.sleep(4)
        worker.send_signal(signal.SIGCONT)
        time.sleep(1.5)
        worker.stdin.write("\n")
        assert worker.stdout.readline().strip() == "None"
        worker.stdin.close()


def test_the_kernels_counter_is_read() -> None:
    assert not Path("/proc/vmstat").exists() or deaths.killed_for_memory() is not None


_HANG = """
import re, sys
from worker import pulse
sys.stderr = None  # Celery puts an object there that is no file
pulse.start()
re.match('(a+)+$', 'a' * 60 + 'b')
"""
_ORPHAN = """
import os, time
from worker import pulse
pulse.GRACE_SECONDS = 0.2
if os.fork() == 0:
    pulse.start()
    print(os.getpid(), flush=True)
    time.sleep(600)
time.sleep(1)
"""


def _python(code: str, *, lease: float) -> subprocess.CompletedProcess[str]:
    own = {**os.environ, "ZOORANK_LEASE_SECONDS": str(lease)}
    return subprocess.run([sys.executable, "-c", code], env=own, capture_output=True, text=True, timeout=60)


def test_a_child_that_never_lets_go_of_the_interpreter_ends_and_says_where() -> None:
    ended = _python(_HANG, lease=2)
    assert ended.returncode == 1
    assert "re" in ended.stderr
    assert "Timeout" in ended.stderr


def test_a_child_ends_after_its_parent() -> None:
    assert int(_python(_ORPHAN, lease=60).stdout)  # returns when nobody holds its output any more


def test_a_suspect_runs_alone_on_its_host(configured: Settings) -> None:
    with transaction() as session:
        suspect, other = add_dataset(session, "suspect", ready=False), add_dataset(session, "other", ready=False)
        suspect.created_at, other.created_at = 1.0, 2.0
        suspect.attempts = 1  # one process died of it
        session.flush()
        assert claim(session, Dataset, other.id, worker="here:1:cpu") is not None
        assert order.first(session, host="here") is None
        assert order.first(session, host="there") == (Dataset, suspect.id)
    with transaction() as session:
        late = add_dataset(session, "late", ready=False)
        assert claim(session, Dataset, suspect.id, worker="there:1:cpu") is not None
    with reading() as session:
        assert order.first(session, host="there") is None
        assert order.first(session, host="here") == (Dataset, late.id)
