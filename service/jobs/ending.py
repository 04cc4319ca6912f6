"""The end of a job, and the sweep for jobs whose worker or message was lost."""

from __future__ import annotations

from typing import Any

from service.jobs import answers, claims, events
from service.jobs.claims import Claim
from service.jobs.kinds import kind_of
from service.store import idempotency
from service.store.session import Session, after_commit


def complete(session: Session, claim: Claim, *, state: str, reason: str | None = None, **values: Any) -> None:
    """Write the last state of a claimed row with its results, then do what follows from it."""
    claims.finish(session, claim, state=state, reason=reason, **values)
    kind_of(claim.table).follow(session, claim.id)


def sweep(session: Session) -> None:
    """Queue again, send again, or fail what a dead worker or a lost message left behind; drop old replies.

    Answers that are overdue are stored after the commit.
    """
    for row in claims.release_expired(session):
        session.flush()
        kind_of(type(row)).follow(session, row.id)
    claims.resend_waiting(session)
    idempotency.prune(session)
    events.prune(session)
    after_commit(session, "overdue answers", answers.store_overdue)
