"""Workers say that they live and take turns in sweeping: the rows, then the sweeper as a process."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from html import unescape
from pathlib import Path

import pytest
from sqlalchemy import update

from service.jobs import answers, presence
from service.settings import Settings
from service.store import workers
from service.store.session import reading, transaction
from service.store.tables import AnswerRevision, Dataset, Sweep, Worker, WorkState
from tests.conftest import TestClient
from tests.service.conftest import add_dataset, add_ranking, evaluate, evaluations, score_of
from worker.sweeper import __main__ as sweeper


def _worker(worker_id: str = "wk_1") -> Worker:
    return Worker(id=worker_id, host="here", pid=1, devices=["cpu"])


def _now() -> presence.Presence:
    with reading() as session:
        return presence.presence(session)


def test_a_worker_is_alive_until_it_stops_or_falls_silent(configured: Settings) -> None:
    assert _now() == presence.Presence(alive=0, last_seen=None, last_sweep=None)
    for worker_id in ("wk_1", "wk_2", "wk_1"):
        presence.say_alive(_worker(worker_id))
    seen = _now()
    assert seen.alive == 2
    assert seen.last_seen == pytest.approx(time.time(), abs=5)
    presence.say_stopped(_worker("wk_1"))
    assert _now().alive == 1
    with transaction() as session:
        session.execute(update(Worker).values(seen_at=Worker.seen_at - configured.lease_seconds))
    left = _now()
    assert left.alive == 0
    assert left.last_seen == pytest.approx(time.time() - configured.lease_seconds, abs=5)
    presence.say_alive(_worker("wk_1"))  # a worker that was thought dead
    assert _now().alive == 1


def test_dead_workers_are_pruned_except_the_last(configured: Settings) -> None:
    for worker_id in ("wk_1", "wk_2"):
        presence.say_alive(_worker(worker_id))
    with transaction() as session:
        session.execute(update(Worker).values(seen_at=Worker.seen_at - workers.KEPT_SECONDS - 1))
        workers.prune(session)
    with reading() as session:
        assert [row.id for row in session.query(Worker)] == ["wk_2"]


def test_many_workers_together_sweep_once(configured: Settings) -> None:
    with ThreadPoolExecutor(8) as pool:
        swept = list(pool.map(lambda _: presence.sweep_when_due(), range(8)))
    assert sum(swept) == 1
    assert _now().last_sweep == pytest.approx(time.time(), abs=5)
    with transaction() as session:
        session.execute(update(Sweep).values(began_at=Sweep.began_at - configured.sweep_seconds))
    assert [presence.sweep_when_due() for _ in range(3)] == [True, False, False]


def test_a_clock_that_was_set_back_stops_no_sweep(configured: Settings) -> None:
    assert presence.sweep_when_due()
    with transaction() as session:
        session.execute(update(Sweep).values(began_at=Sweep.began_at + 24 * 3600))
    assert [presence.sweep_when_due() for _ in range(2)] == [True, False]


_WORKER = (
    "import json, sys\n"
    "from worker.sweeper.watch import SweeperWatch\n"
    "watch = SweeperWatch()\n"
    "watch.start()\n"
    "for line in sys.stdin: watch.tell_death(**json.loads(line))\n"
    "watch.stop()\n"
)


@contextmanager
def _keeping_a_sweeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that keeps a sweeper, and tells it the deaths that it is told, as lines of JSON."""
    process = subprocess.Popen([sys.executable, "-c", _WORKER], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def worker(configure: Callable[..., Settings], sqlite_url: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that keeps a sweeper and does nothing else, with short intervals."""
    configure(database_url=sqlite_url, sweep_seconds=0.2, lease_seconds=2)
    with _keeping_a_sweeper() as process:
        yield process


def _until(what: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def _sweeper_of(worker: subprocess.Popen[bytes]) -> int | None:
    tasks = Path(f"/proc/{worker.pid}/task").iterdir()
    found = [pid for task in tasks for pid in (task / "children").read_text().split()]
    return int(found[0]) if found else None


def _gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_a_killed_sweeper_is_replaced_and_goes_on_sweeping(worker: subprocess.Popen[bytes]) -> None:
    _until(lambda: _now().last_sweep)
    first = _sweeper_of(worker)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    with transaction() as session:
        lost = add_dataset(session, ready=False)
        lost.state, lost.attempts, lost.lease_until = WorkState.RUNNING, 1, time.time() - 1
    with_lost = lambda: _state_of(lost.id) == WorkState.QUEUED  # noqa: E731
    _until(with_lost)
    assert _sweeper_of(worker) != first
    assert _now().alive == 1


@pytest.mark.parametrize(("fault", "counted"), [(None, 0), ("it crashed", 1)])
def test_the_death_of_a_child_is_written_at_once(
    configure: Callable[..., Settings], sqlite_url: str, fault: str | None, counted: int
) -> None:
    configure(database_url=sqlite_url, lease_seconds=600)
    with transaction() as session:
        held = add_dataset(session, ready=False)
        held.state, held.attempts, held.lease_until = WorkState.RUNNING, 1, time.time() + 600
        held.worker = f"{socket.gethostname()}:4711:cpu"
    with _keeping_a_sweeper() as worker:
        assert worker.stdin is not None
        worker.stdin.write(json.dumps({"pid": 4711, "fault": fault}).encode() + b"\n")
        worker.stdin.flush()
        _until(lambda: _state_of(held.id) == WorkState.QUEUED, seconds=20)
    with reading() as session:
        row = session.get_one(Dataset, held.id)
        assert row.attempts - row.releases == counted


def test_a_sweeper_stores_an_answer_that_a_dead_process_left_due(
    worker: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "store_due", lambda _: None)
    with transaction() as session:
        ranking = add_ranking(session, ["a"])
        row = evaluations(session, ranking)["a"]
    evaluate(row.id, score_of(0.1))

    def revisions() -> int:
        with reading() as session:
            return session.query(AnswerRevision).filter_by(ranking_id=ranking.id).count()

    _until(revisions)


def test_the_signs_of_life_go_on_while_an_answer_is_derived(
    configured: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, over = [], threading.Event()
    monkeypatch.setattr(answers, "store_overdue", lambda: begun.append("one") or over.wait(30))
    for _ in range(3):
        with transaction() as session:
            session.execute(update(Sweep).values(began_at=Sweep.began_at - configured.sweep_seconds))
        sweeper._sweep()  # it returns at once, and no second thread derives the same
    _until(lambda: begun == ["one"])
    over.set()
    _until(lambda: all(thread.name != sweeper._ANSWERS for thread in threading.enumerate()))


def _state_of(dataset_id: str) -> str:
    with reading() as session:
        return session.get_one(Dataset, dataset_id).state


@pytest.mark.parametrize("number", [signal.SIGKILL, None])
def test_the_sweeper_ends_with_its_worker_and_says_so(
    worker: subprocess.Popen[bytes], number: signal.Signals | None
) -> None:
    _until(lambda: _now().alive)
    sweeper = _sweeper_of(worker)
    assert sweeper is not None
    if number:
        worker.send_signal(number)
    worker.communicate()  # closes its input, which ends it too
    _until(lambda: _gone(sweeper), seconds=10)
    assert _now().alive == 0


def test_a_worker_that_stands_still_is_not_alive(worker: subprocess.Popen[bytes]) -> None:
    _until(lambda: _now().alive)
    worker.send_signal(signal.SIGSTOP)
    _until(lambda: not _now().alive)
    worker.send_signal(signal.SIGCONT)
    _until(lambda: _now().alive)


def _queued_ranking() -> str:
    with transaction() as session:
        return add_ranking(session, ["a"]).id


def test_without_a_worker_a_queued_ranking_and_readyz_say_since_when(client: TestClient) -> None:
    ranking_id = _queued_ranking()
    answer = client.get("/readyz")
    assert answer.status_code == 200  # requests are taken, and wait
    [warning] = answer.json()["warnings"]
    assert warning == client.get(f"/v1/rankings/{ranking_id}").json()["waiting"]
    assert "No worker has said that it lives so far" in warning
    presence.say_alive(_worker())
    presence.sweep_when_due()
    ready = client.get("/readyz").json()
    assert (ready["workers"], ready["warnings"]) == (1, [])
    for name in ("worker_last_seen_at", "last_sweep_at"):
        assert datetime.fromisoformat(ready[name]).timestamp() == pytest.approx(time.time(), abs=10)
    assert client.get(f"/v1/rankings/{ranking_id}").json()["waiting"] is None
    presence.say_stopped(_worker())
    waiting = client.get(f"/v1/rankings/{ranking_id}").json()["waiting"]
    assert re.fullmatch(
        r"No worker is alive since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, so .*`zoorank worker`.*", waiting
    )
    assert waiting in unescape(client.get(f"/rankings/{ranking_id}").text)
    assert waiting in unescape(client.get("/").text)


def test_readyz_tells_that_no_sweep_began_for_long(client: TestClient, configured: Settings) -> None:
    presence.say_alive(_worker())
    presence.sweep_when_due()
    longest = presence.SWEEPS_MISSED * configured.sweep_seconds + configured.lease_seconds
    with transaction() as session:
        session.execute(update(Sweep).values(began_at=Sweep.began_at - longest))
    [warning] = client.get("/readyz").json()["warnings"]
    assert "No sweep for lost work began in the last 9" in warning


def test_another_clock_of_this_machine_makes_no_sweep_late(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    presence.say_alive(_worker())
    presence.sweep_when_due()
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 24 * 3600)
    assert client.get("/readyz").json()["warnings"] == []
