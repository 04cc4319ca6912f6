"""Messages: a task name and a row id, sent after the transaction that made the work has committed."""

from __future__ import annotations

from service import queue
from service.store.session import Session, after_commit
from service.store.tables import Worked

_OUTBOX = "outbox"


def enqueue(session: Session, table: type[Worked], row_id: str) -> None:
    """Send the job of this table for one row once this session's transaction has committed."""
    outbox: list[tuple[str, str]] = session.info.setdefault(_OUTBOX, [])
    outbox.append((table.job, row_id))
    after_commit(session, _OUTBOX, lambda: _send(outbox))


def outbox_of(session: Session) -> list[tuple[str, str]]:
    """The messages that this session sends, or has sent, after its commit."""
    return list(session.info.get(_OUTBOX, ()))


def _send(outbox: list[tuple[str, str]]) -> None:
    """Send until the broker fails; the sweep sends the rest again."""
    all(queue.send(task, row_id) for task, row_id in outbox)
