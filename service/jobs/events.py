"""Events: one row when a job begins and one when it ends, written in the transaction that does it."""

from __future__ import annotations

import time

from sqlalchemy import delete

from service.store.session import Session
from service.store.tables import Event, Worked, WorkState

KEPT_SECONDS = 30 * 24 * 3600


def write(
    session: Session, table: type[Worked], row_id: str, *, state: str, attempt: int, reason: str | None = None
) -> None:
    """Write that a row of this table is in `state` from now on."""
    session.add(
        Event(job=table.__tablename__, row_id=row_id, state=WorkState(state), attempt=attempt, reason=reason)
    )


def prune(session: Session) -> None:
    """Delete the events that are older than `KEPT_SECONDS`."""
    session.execute(delete(Event).where(Event.at < time.time() - KEPT_SECONDS))
