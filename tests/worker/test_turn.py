"""Which row a message makes a worker take: quick kinds first, then the oldest, over every broker and restart."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

import pytest
from kombu.simple import SimpleQueue
from sqlalchemy import select, update

from service import queue
from service.jobs import order, requests
from service.jobs.claims import claim, fail_queued
from service.settings import Settings
from service.store.session import Session, transaction
from service.store.tables import Dataset, Event, FinetuneRun, Worked
from tests.service.conftest import DEFAULT_FINETUNE, add_checkpoint, add_dataset, add_ranking, evaluations
from worker.main import register_tasks

YEAR = 365 * 24 * 3600


def _messages() -> Iterator[tuple[str, str]]:
    """Every message that waits, as a worker receives it: the name of a task and the id of a row."""
    with queue.app().connection_for_read() as connection, connection.SimpleQueue(queue.QUEUE) as waiting:
        yield from _received(waiting)


def _received(waiting: SimpleQueue) -> Iterator[tuple[str, str]]:
    while True:
        try:
            message = waiting.get(block=False)
        except waiting.Empty:
            return
        message.ack()
        yield message.headers["task"], message.payload[0][0]


def test_messages_come_first_in_first_out_over_a_year_with_reboots_and_clock_steps(
    configure: Callable[..., Settings], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(database_url=sqlite_url)
    chance = random.Random(0)
    clocks = {"monotonic": 900.0, "time": time.time()}
    monkeypatch.setattr(time, "monotonic", lambda: clocks["monotonic"])
    monkeypatch.setattr(time, "time", lambda: clocks["time"])
    sent = []
    while clocks["monotonic"] < YEAR:
        sent.append(f"row-{len(sent)}")
        assert queue.send(Dataset.job, sent[-1])
        clocks["monotonic"] *= chance.uniform(1.0, 1.2)
        clocks["time"] += chance.uniform(-3600, 7200)  # somebody sets the clock
    for _ in range(5):
        queue._apps.clear()  # another process sends after a reboot
        clocks["monotonic"] = chance.uniform(1, 2000)
        sent.append(f"row-{len(sent)}")
        assert queue.send(Dataset.job, sent[-1])
    assert [row_id for _, row_id in _messages()] == sent


def test_the_number_of_the_last_message_may_be_lost(configure: Callable[..., Settings], sqlite_url: str) -> None:
    config = configure(database_url=sqlite_url)
    sent = [f"row-{number}" for number in range(12)]
    for row_id in sent:
        (config.broker_dir / "control" / "number").unlink(missing_ok=True)
        assert queue.send(Dataset.job, row_id)
    assert [row_id for _, row_id in _messages()] == sent


def _rows(session: Session) -> list[tuple[type[Worked], str]]:
    """Rows of every kind in the order in which they were asked for, and the order in which they shall be done."""
    ranking = add_ranking(session, ["a", "b"])
    old = list(evaluations(session, ranking).values())
    run = FinetuneRun(
        dataset_id=ranking.dataset_id,
        checkpoint_id=old[0].checkpoint_id,
        method="ac_norm",
        protocol=DEFAULT_FINETUNE,
    )
    requests.add(session, run)
    late = add_ranking(session, ["c"], dataset_id=ranking.dataset_id)
    new = list(evaluations(session, late).values())
    quick = [add_checkpoint(session, "d", ready=False), add_dataset(session, "e", ready=False)]
    for number, row in enumerate([*old, run, *new, *quick]):
        row.created_at = float(number)
    session.flush()
    return [(type(row), row.id) for row in [*quick, *old, run, *new]]


def test_the_first_in_line_is_quick_and_then_old(configured: Settings) -> None:
    with transaction() as session:
        expected = _rows(session)
    for table, row_id in expected:
        with transaction() as session:
            assert order.first(session, host="here") == (table, row_id)
            assert claim(session, table, row_id, worker="w") is not None
    with transaction() as session:
        assert order.first(session, host="here") is None


def test_a_row_that_waits_for_another_is_not_in_line(configured: Settings) -> None:
    with transaction() as session:
        ranking = add_ranking(session, ["a"], dataset_id=add_dataset(session, "late", ready=False).id)
        assert order.first(session, host="here") == (Dataset, ranking.dataset_id)
        assert claim(session, Dataset, ranking.dataset_id, worker="w") is not None
        assert order.first(session, host="here") is None


@pytest.mark.parametrize("broker", ["embedded", "redis"])
def test_every_message_takes_the_row_that_is_first_in_line(
    broker: str, configure: Callable[..., Settings], sqlite_url: str, request: pytest.FixtureRequest
) -> None:
    own = {"broker_url": request.getfixturevalue("redis_url")} if broker == "redis" else {}
    configure(database_url=sqlite_url, **own)
    list(_messages())
    with transaction() as session:
        expected = _rows(session)
    app = register_tasks(queue.app())
    for task, row_id in _messages():
        app.tasks[task](row_id)
    with transaction() as session:
        begun = session.scalars(
            select(Event).where(Event.state == "running", Event.attempt == 1).order_by(Event.at)
        )
        ids = {row_id for _, row_id in expected}
        assert [event.row_id for event in begun if event.row_id in ids] == [row_id for _, row_id in expected]
        assert order.first(session, host="here") is None


def test_a_row_that_was_taken_meanwhile_is_not_failed(configured: Settings) -> None:
    with transaction() as session:
        row = add_dataset(session, ready=False)
    with transaction() as session:
        stale = session.get_one(Dataset, row.id)
        session.execute(update(Dataset).values(state="running").execution_options(synchronize_session=False))
        assert stale.state == "queued"
        fail_queued(session, stale, reason="what it needs failed")
        assert (stale.state, stale.reason) == ("running", None)
