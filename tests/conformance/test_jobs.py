"""Every kind of job keeps the laws of the queue of record, on each kind of database."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from celery import Celery
from sqlalchemy import select

from service.jobs import ending, order
from service.jobs.claims import Claim, LeaseLostError, claim, release, renew
from service.jobs.kinds import KINDS, Kind, kind_of
from service.jobs.messages import outbox_of
from service.settings import Settings, settings
from service.store.session import transaction
from service.store.tables import Event, Worked, WorkState
from tests.conformance.rows import queued, results
from worker.main import register_tasks

pytestmark = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.table.__tablename__)
ATTEMPTS = 2


@pytest.fixture(autouse=True)
def few_attempts(configure: Callable[..., Settings], database_url: str) -> Settings:
    """A fresh database of each kind; a row fails after few attempts, and the tests end its leases themselves."""
    return configure(database_url=database_url, attempts=ATTEMPTS)


def new_row(kind: Kind) -> str:
    with transaction() as session:
        row_id: str = queued(session, kind.table).id
        return row_id


def claimed(kind: Kind, row_id: str) -> Claim | None:
    with transaction() as session:
        return claim(session, kind.table, row_id, worker="test")


def held(kind: Kind, row_id: str) -> Claim:
    found = claimed(kind, row_id)
    assert found is not None
    return found


def row_of(kind: Kind, row_id: str) -> Worked:
    with transaction() as session:
        row = session.get_one(kind.table, row_id)
        session.expunge(row)
        return row


def states(kind: Kind, row_id: str) -> list[tuple[str, int]]:
    """State and attempt of every event of a row, in order."""
    table = kind.table.__tablename__
    with transaction() as session:
        events = session.scalars(
            select(Event).where(Event.job == table, Event.row_id == row_id).order_by(Event.attempt, Event.at)
        )
        return [(event.state, event.attempt) for event in events]


def sweep_after_the_lease(kind: Kind, row_id: str) -> list[tuple[str, str]]:
    """End the lease of a row, sweep, and give the messages that the sweep sends."""
    with transaction() as session:
        session.get_one(kind.table, row_id).lease_until = 0.0
    with transaction() as session:
        ending.sweep(session)
        return outbox_of(session)


def die(kind: Kind, fault: str | None) -> list[tuple[str, str]]:
    """The death of the process that has a row, and the messages that are sent then."""
    with transaction() as session:
        ending.child_died(session, "test", fault)
        return outbox_of(session)


def test_its_table_and_its_task_are_its_own(kind: Kind) -> None:
    assert kind_of(kind.table) is kind
    assert [other.table for other in KINDS if other.table.job == kind.table.job] == [kind.table]
    app = register_tasks(Celery("test", set_as_current=False))
    assert app.tasks[kind.table.job].name == kind.table.job


def test_it_is_claimed_once(kind: Kind) -> None:
    row_id = new_row(kind)
    assert held(kind, row_id).token == 1
    assert claimed(kind, row_id) is None
    row = row_of(kind, row_id)
    assert (row.state, row.worker, row.attempts) == (WorkState.RUNNING, "test", 1)
    assert row.started_at is not None
    assert states(kind, row_id) == [("running", 1)]


def test_it_is_renewed_by_the_worker_that_holds_it(kind: Kind) -> None:
    row_id = new_row(kind)
    holding = held(kind, row_id)
    before = row_of(kind, row_id).lease_until
    with transaction() as session:
        renew(session, holding, stage="reading", done=3, total=7)
    row = row_of(kind, row_id)
    assert (row.stage, row.steps_done, row.steps_total) == ("reading", 3, 7)
    assert before is not None
    assert row.lease_until is not None
    assert row.lease_until >= before
    with pytest.raises(LeaseLostError), transaction() as session:
        renew(session, Claim(kind.table, row_id, holding.token + 1), stage="reading", done=4, total=7)


def test_it_is_released_and_sent_again_at_no_cost(kind: Kind) -> None:
    row_id = new_row(kind)
    for attempt in range(1, ATTEMPTS + 2):  # more often than it may fail
        holding = held(kind, row_id)
        assert holding.token == attempt
        with transaction() as session:
            release(session, holding)
            assert outbox_of(session) == [(kind.table.job, row_id)]
        row = row_of(kind, row_id)
        assert (row.state, row.lease_until, row.releases) == (WorkState.QUEUED, None, attempt)
    assert ("queued", 1) in states(kind, row_id)


def test_it_is_swept_after_its_lease_ran_out_and_the_lost_worker_writes_nothing(kind: Kind) -> None:
    row_id = new_row(kind)
    lost = held(kind, row_id)
    assert (kind.table.job, row_id) in sweep_after_the_lease(kind, row_id)
    assert row_of(kind, row_id).state == WorkState.QUEUED
    assert held(kind, row_id).token == 2
    with pytest.raises(LeaseLostError), transaction() as session:
        ending.complete(session, lost, state=WorkState.DONE, **results(kind.table))
    assert row_of(kind, row_id).state == WorkState.RUNNING


def test_a_row_whose_message_was_lost_is_sent_again(kind: Kind) -> None:
    row_id = new_row(kind)
    with transaction() as session:
        session.get_one(kind.table, row_id).sent_at = 0.0
    with transaction() as session:
        ending.sweep(session)
        assert outbox_of(session) == [(kind.table.job, row_id)]
    with transaction() as session:
        ending.sweep(session)
        assert outbox_of(session) == []


@pytest.mark.parametrize("how", ["its lease ran out", "its process was killed", "it was taken over"])
def test_what_ended_its_worker_from_outside_never_counts(kind: Kind, how: str) -> None:
    row_id = new_row(kind)
    for attempt in range(1, 4 * ATTEMPTS):
        assert held(kind, row_id).token == attempt
        if how == "its lease ran out":
            assert (kind.table.job, row_id) in sweep_after_the_lease(kind, row_id)
        elif how == "its process was killed":
            assert die(kind, None) == [(kind.table.job, row_id)]
        else:
            with transaction() as session:
                session.get_one(kind.table, row_id).lease_until = 0.0
    row = row_of(kind, row_id)
    assert row.attempts - row.releases == int(how == "it was taken over")  # the one that still has it


def test_a_lost_row_is_tried_again_at_once_and_waits_longer_every_time(kind: Kind) -> None:
    row_id = new_row(kind)
    pauses = []
    for _ in range(4):
        held(kind, row_id)
        die(kind, None)
        with transaction() as session:
            row = session.get_one(kind.table, row_id)
            pauses.append(row.not_before - time.time() if row.not_before else 0.0)
            assert not row.not_before or order.first(session, host="here") != (kind.table, row_id)
            row.not_before = 0.0
    assert pauses == sorted(pauses)
    assert pauses[0] == 0
    assert 1 < pauses[3] < 60


def test_a_lost_row_is_sent_again_once_its_pause_is_over(kind: Kind) -> None:
    row_id = new_row(kind)
    held(kind, row_id)
    die(kind, None)
    for left, sent in ((60.0, []), (-1.0, [(kind.table.job, row_id)]), (None, [])):
        with transaction() as session:
            if left is not None:
                session.get_one(kind.table, row_id).not_before = time.time() + left
        with transaction() as session:
            ending.sweep(session)
            assert outbox_of(session) == sent


def test_the_first_in_line_is_sent_at_every_sweep(kind: Kind) -> None:
    row_id = new_row(kind)
    with transaction() as session:
        place = order.first(session, host=order.NO_HOST)
        assert place is not None
        first = session.get_one(*place)
        first.sent_at = time.time() - settings().sweep_seconds - 1
    for sent in ([(place[0].job, place[1])], []):
        with transaction() as session:
            ending.sweep(session)
            assert outbox_of(session) == sent
    assert row_of(kind, row_id).state == WorkState.QUEUED


def test_a_row_that_had_more_faults_than_are_allowed_now_is_tried_once_more(
    kind: Kind, configure: Callable[..., Settings], database_url: str
) -> None:
    row_id = new_row(kind)
    held(kind, row_id)
    die(kind, "its process crashed (SIGSEGV)")
    configure(database_url=database_url, attempts=1)
    held(kind, row_id)
    die(kind, "its process crashed (SIGSEGV)")
    assert row_of(kind, row_id).state == WorkState.FAILED


def test_its_lease_is_shortened_where_the_clock_was_set_back(kind: Kind) -> None:
    row_id = new_row(kind)
    held(kind, row_id)
    with transaction() as session:
        session.get_one(kind.table, row_id).lease_until = time.time() + 3600
    with transaction() as session:
        ending.sweep(session)
    row = row_of(kind, row_id)
    assert row.state == WorkState.RUNNING
    assert row.lease_until == pytest.approx(time.time() + settings().lease_seconds, abs=5)


def test_its_result_may_be_written_twice_by_the_worker_that_has_it(kind: Kind) -> None:
    row_id = new_row(kind)
    holding = held(kind, row_id)
    for _ in range(2):  # the answer to the first commit was lost
        with transaction() as session:
            ending.complete(session, holding, state=WorkState.DONE, **results(kind.table))
    assert states(kind, row_id) == [("running", 1), ("done", 1)]


def test_it_fails_after_its_attempts(kind: Kind) -> None:
    row_id = new_row(kind)
    for _ in range(ATTEMPTS):
        held(kind, row_id)
        messages = die(kind, "its process crashed (SIGSEGV)")
    assert messages == []
    row = row_of(kind, row_id)
    assert (row.state, row.lease_until) == (WorkState.FAILED, None)
    assert row.reason is not None
    assert f"died {ATTEMPTS} times" in row.reason
    assert "SIGSEGV" in row.reason
    assert row.finished_at is not None
    assert claimed(kind, row_id) is None
    lost = [("running", 1), ("queued", 1), ("running", 2), ("failed", 2)]
    assert states(kind, row_id) == lost


@pytest.mark.parametrize("state", [WorkState.DONE, WorkState.FAILED])
def test_it_ends_with_an_event(kind: Kind, state: WorkState) -> None:
    row_id = new_row(kind)
    holding = held(kind, row_id)
    reason, values = (None, results(kind.table)) if state == WorkState.DONE else ("a reason", {})
    with transaction() as session:
        ending.complete(session, holding, state=state, reason=reason, **values)
    row = row_of(kind, row_id)
    assert (row.state, row.reason, row.lease_until) == (state, reason, None)
    assert {name: getattr(row, name) for name in values} == values
    assert row.finished_at is not None
    assert claimed(kind, row_id) is None
    assert states(kind, row_id) == [("running", 1), (str(state), 1)]
