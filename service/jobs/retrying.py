"""Queueing again what failed or was canceled."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import select

from service.jobs import events
from service.jobs.messages import enqueue
from service.store.locking import for_update
from service.store.session import Session
from service.store.tables import Checkpoint, Dataset, Evaluation, Ranking, Worked, WorkState

RETRIED_STATES = (WorkState.FAILED, WorkState.CANCELED)


def queue_again(session: Session, row: Worked, *, why: str) -> None:
    """Queue a locked row as if it were new. Its token goes on growing, so a worker that has it loses its lease."""
    row.state, row.reason, row.sent_at = WorkState.QUEUED, None, time.time()
    row.releases = row.attempts  # none of the earlier attempts counts any more
    row.worker, row.stage, row.lease_until = None, None, None
    row.steps_done, row.steps_total = 0, 0
    row.started_at, row.finished_at = None, None
    session.flush()
    events.write(session, type(row), row.id, state=row.state, attempt=row.attempts, reason=why)
    enqueue(session, type(row), row.id)


def read_again(session: Session, row: Dataset | Checkpoint, *, why: str) -> None:
    """Queue a locked dataset or checkpoint for a new look at its file; what was found before no longer holds."""
    if isinstance(row, Dataset):
        row.fingerprint, row.inspection = None, None
    else:
        row.sha256, row.preflight = None, None
    queue_again(session, row, why=why)


def ended_without_scores(session: Session, ranking: Ranking) -> list[tuple[Evaluation, Checkpoint]]:
    """The ranking's failed and canceled evaluations, locked before their ranking, with their checkpoints."""
    query = select(Evaluation).where(Evaluation.ranking_id == ranking.id, Evaluation.state.in_(RETRIED_STATES))
    rows = session.scalars(for_update(query.order_by(Evaluation.id))).all()
    session.refresh(ranking, with_for_update=True)
    return [(row, session.get_one(Checkpoint, row.checkpoint_id)) for row in rows]


def retry_evaluations(session: Session, ranking: Ranking, ended: Sequence[tuple[Evaluation, Checkpoint]]) -> None:
    """Queue these locked evaluations again; a canceled ranking goes on with them.

    Those whose checkpoint failed are not queued. Where they were canceled they have failed from now on, since the
    ranking is not canceled any more.
    """
    ranking.canceled_at = None
    for row, checkpoint in ended:
        if checkpoint.state != WorkState.FAILED:
            queue_again(session, row, why="it was retried")
        elif row.state == WorkState.CANCELED:
            row.state, row.reason = WorkState.FAILED, f"checkpoint {checkpoint.name}: {checkpoint.reason}"
            row.releases = row.attempts  # it is not the evaluation that failed
            events.write(session, Evaluation, row.id, state=row.state, attempt=row.attempts, reason=row.reason)
