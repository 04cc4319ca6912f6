"""An event is written when a job begins and when it ends, in the transaction that does it."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import select, update

from service.jobs import claims, ending, events, losses, requests
from service.jobs.claims import Claim, LeaseLostError, claim
from service.settings import Settings
from service.store.session import reading, transaction
from service.store.tables import Dataset, Event
from tests.service.conftest import add_dataset, add_ranking, publish

pytestmark = pytest.mark.usefixtures("configured")


def _states(row_id: str) -> list[tuple[str, int, str | None]]:
    with reading() as session:
        found = session.scalars(select(Event).where(Event.row_id == row_id).order_by(Event.at, Event.id))
        return [(event.state, event.attempt, event.reason) for event in found]


def _claimed() -> Claim:
    with transaction() as session:
        row = add_dataset(session, ready=False)
        held = claim(session, Dataset, row.id, worker="w")
    assert held is not None
    return held


def test_beginning_and_end_are_events() -> None:
    held = _claimed()
    assert _states(held.id) == [("running", 1, None)]
    with transaction() as session:
        ending.complete(session, held, state="failed", reason="one class only")
    assert _states(held.id) == [("running", 1, None), ("failed", 1, "one class only")]
    with reading() as session:
        assert {event.job for event in session.scalars(select(Event))} == {"datasets"}


def test_what_is_rolled_back_is_no_event() -> None:
    held = _claimed()
    with transaction() as session:
        session.execute(update(Dataset).values(attempts=2))
    with pytest.raises(LeaseLostError), transaction() as session:
        ending.complete(session, held, state="done", fingerprint="f")
    assert _states(held.id) == [("running", 1, None)]


def test_a_release_a_lost_lease_and_a_cancel_are_events(configured: Settings) -> None:
    held = _claimed()
    with transaction() as session:
        claims.release(session, held)
    for _ in range(configured.attempts):
        with transaction() as session:
            claim(session, Dataset, held.id, worker="w")
        with transaction() as session:
            ending.child_died(session, "w", "its process crashed (SIGSEGV)")
    states = [state for state, _, _ in _states(held.id)]
    lost = ["running", "queued"] * (configured.attempts - 1)
    assert states == ["running", "queued", *lost, "running", "failed"]


def test_a_lost_lease_is_an_event_of_the_attempt_that_lost_it() -> None:
    held = _claimed()
    with transaction() as session:
        session.execute(update(Dataset).values(lease_until=1.0))
        ending.sweep(session)
    assert _states(held.id) == [("running", 1, None), ("queued", 1, losses.LEASE_RAN_OUT)]
    with transaction() as session:
        ending.sweep(session)  # it waits for a worker now, which is no second event
    assert len(_states(held.id)) == 2


def test_canceling_a_ranking_is_an_event_of_each_evaluation() -> None:
    with transaction() as session:
        publish(session)
        ranking = add_ranking(session, ["a", "b"])
        requests.cancel_ranking(session, ranking)
    with reading() as session:
        canceled = session.scalars(select(Event).where(Event.state == "canceled", Event.job == "evaluations"))
        assert [event.reason for event in canceled] == ["the ranking was canceled"] * 2


def test_old_events_are_pruned() -> None:
    held = _claimed()
    with transaction() as session:
        session.execute(update(Event).values(at=time.time() - events.KEPT_SECONDS - 1))
        ending.sweep(session)
    assert _states(held.id) == []
