"""Checkpoints: registration, lists, and the record of their preflight."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from service import queue
from service.store.claims import Claim, claim
from service.store.pages import page, with_names
from service.store.session import ring
from service.store.tables import Checkpoint, Json


@dataclass(frozen=True)
class CheckpointWork:
    """A claimed preflight."""

    held: Claim
    uri: str
    architecture: str
    parameters: Json
    card: Json


def create(session: Session, checkpoint: Checkpoint) -> Checkpoint:
    """Insert a checkpoint and ring for its preflight."""
    session.add(checkpoint)
    session.flush()
    ring(session, queue.PREFLIGHT_CHECKPOINT, checkpoint.id)
    return checkpoint


def find(session: Session, reference: str) -> Checkpoint | None:
    """The checkpoint with this id or name."""
    named = (Checkpoint.id == reference) | (Checkpoint.name == reference)
    return session.scalar(select(Checkpoint).where(named))


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
    query = select(Checkpoint).where(Checkpoint.state != "failed").order_by(Checkpoint.id)
    if "architecture" in filters:
        query = query.where(Checkpoint.architecture == filters["architecture"])
    on_card = {field: value for field, value in filters.items() if field != "architecture"}
    return [
        row
        for row in session.scalars(query)
        if all(row.card.get(field) == value for field, value in on_card.items())
    ]


def claim_preflight(session: Session, checkpoint_id: str, *, worker: str) -> CheckpointWork | None:
    """Claim the preflight of a checkpoint, if it is to be had."""
    held = claim(session, Checkpoint, checkpoint_id, worker=worker)
    if held is None:
        return None
    row = session.get_one(Checkpoint, checkpoint_id)
    return CheckpointWork(held, row.uri, row.architecture, row.parameters, row.card)
