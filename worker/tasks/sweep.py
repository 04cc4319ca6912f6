"""The sweep, as a task."""

from __future__ import annotations

from service.jobs import ending, transaction
from worker.publish import publish


def sweep() -> None:
    """Publish if that failed at the start; queue, send or fail the jobs of dead workers and lost messages."""
    publish()
    with transaction() as session:
        ending.sweep(session)
