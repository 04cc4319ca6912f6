"""Rows of finetune runs."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.store.locking import for_update
from service.store.paging import page
from service.store.tables import FinetuneRun


def find(session: Session, run_id: str, *, lock: bool = False) -> FinetuneRun | None:
    """The run with this id; with `lock`, nobody else changes it until this transaction is over."""
    query = select(FinetuneRun).where(FinetuneRun.id == run_id)
    return session.scalar(for_update(query) if lock else query)


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
