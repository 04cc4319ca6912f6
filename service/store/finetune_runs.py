"""Finetune runs: the request, lists, and the record of the result."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from service import queue
from service.store.claims import OPEN_STATES, Claim
from service.store.pages import page
from service.store.session import ring
from service.store.tables import Checkpoint, Dataset, FinetuneRun, Json
from service.store.waiting import (
    CandidateCheckpoint,
    TargetDataset,
    candidate_of,
    claim_when_ready,
    target_of,
)


@dataclass(frozen=True)
class FinetuneWork:
    """A claimed finetune run."""

    held: Claim
    dataset: TargetDataset
    checkpoint: CandidateCheckpoint
    method: str
    protocol: Json


def create(session: Session, run: FinetuneRun) -> FinetuneRun:
    """Insert a run and ring for it."""
    session.add(run)
    session.flush()
    ring(session, queue.RUN_FINETUNE, run.id)
    return run


def find(session: Session, run_id: str) -> FinetuneRun | None:
    """The run with this id."""
    return session.get(FinetuneRun, run_id)


def listed(
    session: Session,
    *,
    after: str | None,
    limit: int,
    ranking_id: str | None = None,
    state: str | None = None,
) -> list[FinetuneRun]:
    """One page, newest first."""
    query = select(FinetuneRun)
    if ranking_id:
        query = query.where(FinetuneRun.ranking_id == ranking_id)
    if state:
        query = query.where(FinetuneRun.state == state)
    return page(session, query, FinetuneRun.id, after=after, limit=limit)


def of_ranking(session: Session, ranking_id: str) -> list[FinetuneRun]:
    """All runs that a ranking started, oldest first."""
    query = select(FinetuneRun).where(FinetuneRun.ranking_id == ranking_id).order_by(FinetuneRun.id)
    return list(session.scalars(query))


def cancel(session: Session, run: FinetuneRun) -> bool:
    """Cancel a run that is not over yet; its worker finds out at its next heartbeat."""
    canceled = session.execute(
        update(FinetuneRun)
        .where(FinetuneRun.id == run.id, FinetuneRun.state.in_(OPEN_STATES))
        .values(state="canceled", reason="the run was canceled", finished_at=time.time())
        .returning(FinetuneRun.id)
    ).scalar_one_or_none()
    session.refresh(run)
    return canceled is not None


def claim_run(session: Session, run_id: str, *, worker: str) -> FinetuneWork | None:
    """Claim a run whose dataset and checkpoint are ready, if it is to be had."""
    row = session.get(FinetuneRun, run_id)
    if row is None or row.state not in OPEN_STATES:
        return None
    dataset = session.get_one(Dataset, row.dataset_id)
    checkpoint = session.get_one(Checkpoint, row.checkpoint_id)
    held = claim_when_ready(session, row, (dataset, checkpoint), worker=worker)
    return (
        None
        if held is None
        else FinetuneWork(held, target_of(dataset), candidate_of(checkpoint), row.method, row.protocol)
    )
