"""Adding and canceling jobs."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import select, update

from service.jobs import events
from service.jobs.answers import make_due
from service.jobs.messages import enqueue
from service.store.session import Session
from service.store.tables import OPEN_STATES, Checkpoint, Evaluation, FinetuneRun, Ranking, Worked, WorkState


def add(session: Session, *rows: Worked) -> None:
    """Insert rows that workers shall work on, and enqueue each."""
    session.add_all(rows)
    session.flush()
    for row in rows:
        enqueue(session, type(row), row.id)


def add_ranking(session: Session, ranking: Ranking, candidates: Sequence[Checkpoint]) -> None:
    """Insert a ranking with one queued evaluation per candidate."""
    session.add(ranking)
    session.flush()
    add(session, *(Evaluation(ranking_id=ranking.id, checkpoint_id=row.id) for row in candidates))


def cancel_ranking(session: Session, ranking: Ranking) -> None:
    """Cancel the open evaluations and finetune runs of a ranking; their workers stop at their next heartbeat.

    Evaluations are locked before their ranking, as in the transaction that ends one, so that neither waits for
    the other crosswise. Finetune runs come last: none is started for a ranking that is locked or canceled.
    """
    canceled = _cancel_open(session, Evaluation, ranking.id)
    ranking.canceled_at = ranking.canceled_at or time.time()
    session.flush()
    if canceled:
        make_due(session, ranking)
    _cancel_open(session, FinetuneRun, ranking.id)


def _cancel_open(session: Session, table: type[Evaluation] | type[FinetuneRun], ranking_id: str) -> int:
    """Cancel the open rows of a ranking, and say how many there were."""
    still_open = select(table.id).where(table.ranking_id == ranking_id, table.state.in_(OPEN_STATES))
    locked = session.scalars(still_open.order_by(table.id).with_for_update()).all()
    ended = {"state": WorkState.CANCELED, "reason": "the ranking was canceled", "finished_at": time.time()}
    canceled = update(table).where(table.id.in_(locked)).values(ended).returning(table.id, table.attempts)
    for row_id, attempts in session.execute(canceled):
        _write_canceled(session, table, row_id, attempts, "the ranking was canceled")
    return len(locked)


def _write_canceled(session: Session, table: type[Worked], row_id: str, attempts: int, reason: str) -> None:
    events.write(session, table, row_id, state=WorkState.CANCELED, attempt=attempts, reason=reason)


def cancel_run(session: Session, run: FinetuneRun) -> bool:
    """Cancel an open finetune run, whose worker stops at its next heartbeat; False when it has ended."""
    canceled = session.execute(
        update(FinetuneRun)
        .where(FinetuneRun.id == run.id, FinetuneRun.state.in_(OPEN_STATES))
        .values(state=WorkState.CANCELED, reason="the run was canceled", finished_at=time.time())
        .returning(FinetuneRun.id)
    ).scalar_one_or_none()
    session.refresh(run)
    if canceled is None:
        return False
    _write_canceled(session, FinetuneRun, run.id, run.attempts, "the run was canceled")
    return True
