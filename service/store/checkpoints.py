"""Rows of checkpoints."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.store.locking import for_update
from service.store.paging import page, with_names
from service.store.tables import Checkpoint, WorkState


def find(session: Session, reference: str, *, lock: bool = False) -> Checkpoint | None:
    """The checkpoint with this id or name; with `lock`, nobody else changes it until this transaction is over."""
    named = select(Checkpoint).where((Checkpoint.id == reference) | (Checkpoint.name == reference))
    return session.scalar(for_update(named) if lock else named)


def with_id(session: Session, checkpoint_id: str) -> Checkpoint:
    """The checkpoint with this id, to which another row refers."""
    return session.get_one(Checkpoint, checkpoint_id)


def named(session: Session, names: Collection[str]) -> dict[str, Checkpoint]:
    """Those of these names that are registered."""
    return {row.name: row for row in with_names(session, Checkpoint, Checkpoint.name, names)}


def listed(
    session: Session,
    *,
    after: str | None,
    limit: int,
    architecture: str | None = None,
    state: str | None = None,
) -> list[Checkpoint]:
    """One page, newest first."""
    query = select(Checkpoint)
    if architecture:
        query = query.where(Checkpoint.architecture == architecture)
    if state:
        query = query.where(Checkpoint.state == state)
    return page(session, query, Checkpoint.id, after=after, limit=limit)


def matching(session: Session, filters: dict[str, str]) -> list[Checkpoint]:
    """Every usable checkpoint whose architecture, or card entry, equals each of `filters`."""
    query = select(Checkpoint).where(Checkpoint.state != WorkState.FAILED).order_by(Checkpoint.id)
    if "architecture" in filters:
        query = query.where(Checkpoint.architecture == filters["architecture"])
    on_card = {field: value for field, value in filters.items() if field != "architecture"}
    return [
        row
        for row in session.scalars(query)
        if all(getattr(row.card, field) == value for field, value in on_card.items())
    ]
