"""The sweep, as a task."""

from __future__ import annotations

from service.store import ending
from service.store.session import transaction


def sweep() -> None:
    """Take up what dead workers and lost messages left behind."""
    with transaction() as session:
        ending.sweep(session)
