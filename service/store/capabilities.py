"""What the workers published that they can do."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from service.store.tables import Capability, Json


def publish(session: Session, capabilities: Mapping[str, Mapping[str, Json]]) -> None:
    """Replace what is published by `kind -> name -> body`."""
    for kind, entries in capabilities.items():
        session.execute(delete(Capability).where(Capability.kind == kind, Capability.name.not_in(entries)))
        for name, body in entries.items():
            session.merge(Capability(kind=kind, name=name, body=body))


def of_kind(session: Session, kind: str) -> dict[str, Json]:
    """Name -> body of everything published of one kind, by name."""
    rows = session.scalars(select(Capability).where(Capability.kind == kind).order_by(Capability.name))
    return {row.name: row.body for row in rows}
