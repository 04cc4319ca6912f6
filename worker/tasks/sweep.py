"""The sweep, as a task."""

from __future__ import annotations

from service.store import ending
from service.store.session import transaction
from worker.publish import publish


def sweep() -> None:
    """Publish if that failed at the start; take up what dead workers and lost messages left behind."""
    publish()
    with transaction() as session:
        ending.sweep(session)
