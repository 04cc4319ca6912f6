"""Rows of datasets."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.store.locking import for_update
from service.store.paging import page, with_names
from service.store.tables import Dataset


def find(session: Session, reference: str, *, lock: bool = False) -> Dataset | None:
    """The dataset with this id or name; with `lock`, nobody else changes it until this transaction is over."""
    named = select(Dataset).where((Dataset.id == reference) | (Dataset.name == reference))
    return session.scalar(for_update(named) if lock else named)


def with_id(session: Session, dataset_id: str) -> Dataset:
    """The dataset with this id, to which another row refers."""
    return session.get_one(Dataset, dataset_id)


def named(session: Session, names: Collection[str]) -> dict[str, Dataset]:
    """Those of these names that are registered."""
    return {row.name: row for row in with_names(session, Dataset, Dataset.name, names)}


def listed(
    session: Session, *, after: str | None, limit: int, task: str | None = None, modality: str | None = None
) -> list[Dataset]:
    """One page, newest first."""
    query = select(Dataset)
    if task:
        query = query.where(Dataset.task == task)
    if modality:
        query = query.where(Dataset.modality == modality)
    return page(session, query, Dataset.id, after=after, limit=limit)
