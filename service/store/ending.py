"""The end of a piece of work, and what follows from it; also for work whose worker is gone."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from service.store import claims, idempotency, outcomes, rankings
from service.store.claims import Claim
from service.store.tables import Checkpoint, Dataset, Evaluation, FinetuneRun, Worked
from service.store.waiting import ring_waiting_for


def end(session: Session, held: Claim, *, state: str, reason: str | None = None, **values: Any) -> None:
    """Write the last state of claimed work with its results, and start what waited for it."""
    claims.finish(session, held, state=state, reason=reason, **values)
    _follow(session, held.kind, held.id)


def sweep(session: Session) -> None:
    """Queue again, ring for, or fail what a dead worker or a lost message left behind; forget old answers."""
    for row in claims.release_expired(session):
        session.flush()
        _follow(session, type(row), row.id)
    claims.ring_forgotten(session)
    idempotency.prune(session)


def _follow(session: Session, kind: type[Worked], row_id: str) -> None:
    if kind is Dataset:
        ring_waiting_for(session, dataset_id=row_id)
    elif kind is Checkpoint:
        ring_waiting_for(session, checkpoint_id=row_id)
    elif kind is FinetuneRun:
        run = session.get_one(FinetuneRun, row_id, populate_existing=True)
        if run.state == "done":
            outcomes.add_own(session, run)
    elif kind is Evaluation:
        rankings.settle(session, session.get_one(Evaluation, row_id).ranking_id)
