"""What the workers published that they can do."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from service.store.dict_form import read, stored
from service.store.published import CapabilityKind, Published
from service.store.tables import Capability

Content = TypeVar("Content")


def publish(session: Session, capabilities: Published) -> None:
    """Replace everything that is published by these contents (kind of capability -> name -> content)."""
    session.execute(delete(Capability).where(Capability.kind.not_in(capabilities)))
    for kind, entries in capabilities.items():
        session.execute(delete(Capability).where(Capability.kind == kind, Capability.name.not_in(entries)))
        for name, content in entries.items():
            session.merge(Capability(kind=kind, name=name, body=stored(content)))


def of_kind(session: Session, kind: CapabilityKind[Content]) -> dict[str, Content]:
    """Name -> content of everything published of one kind, by name."""
    rows = select(Capability).where(Capability.kind == kind.name).order_by(Capability.name)
    return {row.name: read(kind.content, row.body) for row in session.scalars(rows)}
