"""Datasets: registration, lists, and the record of their inspection."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from service import queue
from service.store.claims import Claim, claim
from service.store.pages import page, with_names
from service.store.session import ring
from service.store.tables import Dataset


@dataclass(frozen=True)
class DatasetWork:
    """A claimed inspection."""

    held: Claim
    uri: str
    task: str
    spatial_dims: int


def create(session: Session, dataset: Dataset) -> Dataset:
    """Insert a dataset and ring for its inspection."""
    session.add(dataset)
    session.flush()
    ring(session, queue.INSPECT_DATASET, dataset.id)
    return dataset


def find(session: Session, reference: str) -> Dataset | None:
    """The dataset with this id or name."""
    return session.scalar(select(Dataset).where((Dataset.id == reference) | (Dataset.name == reference)))


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


def claim_inspection(session: Session, dataset_id: str, *, worker: str) -> DatasetWork | None:
    """Claim the inspection of a dataset, if it is to be had."""
    held = claim(session, Dataset, dataset_id, worker=worker)
    if held is None:
        return None
    row = session.get_one(Dataset, dataset_id)
    return DatasetWork(held, row.uri, row.task, row.spatial_dims)
