"""A database that goes away and a disk that is full cost neither a computed result nor an attempt."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError

from service.jobs import contents, order
from service.jobs.claims import Claim, claim
from service.settings import Settings, settings
from service.store.outages import outlast, passes
from service.store.session import engine, reading, transaction
from service.store.tables import Dataset
from tests.conftest import _administer
from tests.service.conftest import add_dataset
from worker.science.specs import Progress
from worker.tasks import finetune_runs, lease
from worker.tasks.datasets import Inspected
from worker.tasks.turn import take_turn

AWAY_SECONDS = 0.6
LARGE = "x" * 200_000  # needs pages that a full database does not have


@contextmanager
def _no_room_in_sqlite() -> Iterator[None]:
    def limit(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # SQLite takes the number of pages that are used

    def unlimit(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")

    event.listen(engine(), "begin", limit)
    try:
        yield
    finally:
        event.remove(engine(), "begin", limit)
        event.listen(engine(), "begin", unlimit)


@contextmanager
def _postgres_away(server: str, name: str) -> Iterator[None]:
    _administer(server, "ALTER DATABASE {name} ALLOW_CONNECTIONS false", name=name)
    _administer(server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'test_%'")
    try:
        yield
    finally:
        _administer(server, "ALTER DATABASE {name} ALLOW_CONNECTIONS true", name=name)


@pytest.fixture
def away(configured: Settings, request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    """Call it to take the database away, or its room, for AWAY_SECONDS."""
    url = configured.database
    if url.startswith("sqlite"):
        outage = _no_room_in_sqlite()
    else:
        name = url.partition("@/")[2].partition("?")[0]
        outage = _postgres_away(request.getfixturevalue("postgres_server"), name)
    timer = threading.Timer(AWAY_SECONDS, lambda: outage.__exit__(None, None, None))

    def begin() -> None:
        outage.__enter__()
        timer.start()

    yield begin
    timer.join()


@pytest.fixture
def on_sqlite(configure: Callable[..., Settings], sqlite_url: str) -> Settings:
    return configure(database_url=sqlite_url)


def _claimed() -> Claim:
    with transaction() as session:
        row = add_dataset(session, ready=False)
    with transaction() as session:
        held = claim(session, Dataset, row.id, worker="w")
    assert held is not None
    return held


def _row(row_id: str) -> Dataset:
    with reading() as session:
        row = session.get_one(Dataset, row_id)
        session.expunge(row)
        return row


def _inspected() -> Inspected:
    shape, splits = (8, 8), {"train": 1}
    found = contents.Inspection(
        images=1, shape=shape, channels=1, dtype=LARGE, value_range=(0.0, 1.0), splits=splits, groups=1
    )
    return Inspected("f", found)


def test_a_result_outlasts_an_outage(away: Callable[[], None]) -> None:
    held = _claimed()

    def compute(progress: Progress) -> Inspected:
        away()
        return _inspected()

    lease.carry_out(held, compute)
    row = _row(held.id)
    assert (row.state, row.reason, row.attempts, row.fingerprint) == ("done", None, 1, "f")


def test_a_result_that_waited_too_long_is_no_failure(configure: Callable[..., Settings], sqlite_url: str) -> None:
    configure(database_url=sqlite_url, wait_seconds=0.3)
    held = _claimed()
    with _no_room_in_sqlite():
        lease.carry_out(held, lambda _progress: _inspected())
    row = _row(held.id)
    assert (row.state, row.reason, row.inspection) == ("queued", None, None)


def test_a_job_whose_file_is_out_of_reach_begins_again(on_sqlite: Settings) -> None:
    held, tries = _claimed(), []

    def compute(_progress: Progress) -> Inspected:
        tries.append("once")
        if len(tries) < 3:
            raise OSError(errno.ESTALE, "Stale file handle")
        return _inspected()

    lease.carry_out(held, compute)
    row = _row(held.id)
    assert (row.state, row.attempts, len(tries)) == ("done", 1, 3)


def test_a_job_whose_file_stays_out_of_reach_lets_others_go_first(
    configure: Callable[..., Settings], sqlite_url: str
) -> None:
    configure(database_url=sqlite_url, wait_seconds=0.3)
    held = _claimed()

    def compute(_progress: Progress) -> Inspected:
        raise OSError(errno.EIO, "Input/output error")

    lease.carry_out(held, compute)
    row = _row(held.id)
    assert (row.state, row.reason, row.releases) == ("queued", None, 1)
    with transaction() as session:
        assert order.first(session, host="here") is None  # for a minute
        session.get_one(Dataset, held.id).not_before = None
        assert order.first(session, host="here") == (Dataset, held.id)


def test_a_finished_network_is_written_when_there_is_room(on_sqlite: Settings) -> None:
    folder = settings().networks_dir
    folder.mkdir(parents=True)
    (folder / "run.part").symlink_to("/dev/full")  # "no room" until the link is removed
    tries: list[str] = []

    def write() -> Path:
        tries.append("once")
        return finetune_runs._write(b"weights", name="run")

    written = outlast(write, meanwhile=lambda: tries.append("waited"))
    assert tries == ["once", "waited", "once"]
    assert written.read_bytes() == b"weights"
    assert [file.name for file in folder.iterdir()] == ["run"]


def test_who_waits_can_be_stopped(on_sqlite: Settings) -> None:
    def full() -> None:
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"x")

    def stop() -> None:
        raise lease.StoppedError("the worker stops")

    with pytest.raises(lease.StoppedError):
        outlast(full, meanwhile=stop)


def test_an_error_that_does_not_pass_is_raised_at_once(on_sqlite: Settings) -> None:
    def wrong() -> None:
        with transaction() as session:
            session.connection().exec_driver_sql("SELECT * FROM no_such_table")

    with pytest.raises(Exception, match="no_such_table") as caught:
        outlast(wrong, meanwhile=lambda: pytest.fail("waited"))
    assert not passes(caught.value)


def test_a_server_that_takes_no_writes_yet_is_waited_for(
    configure: Callable[..., Settings], postgres_url: str
) -> None:
    configure(database_url=postgres_url)

    def add() -> None:
        with transaction() as session:
            session.connection().exec_driver_sql("SET TRANSACTION READ ONLY")
            add_dataset(session)

    with pytest.raises(DBAPIError) as caught:
        add()
    assert passes(caught.value)


def test_a_row_is_claimed_when_the_database_is_back(away: Callable[[], None]) -> None:
    with transaction() as session:
        row_id = add_dataset(session, ready=False).id
    away()
    take_turn(row_id)  # its file lies outside the roots: the inspection ends with that reason
    with reading() as session:
        row = session.get_one(Dataset, row_id)
    assert (row.state, row.attempts) == ("failed", 1)
    assert "outside the configured roots" in (row.reason or "")
