"""The end of a job, and the sweep for jobs whose worker or message was lost."""

from __future__ import annotations

from typing import Any

from service.jobs import claims, events, losses
from service.jobs.claims import Claim
from service.jobs.kinds import kind_of
from service.store import idempotency
from service.store.session import Session


def complete(session: Session, claim: Claim, *, state: str, reason: str | None = None, **values: Any) -> None:
    """Write the last state of a claimed row with its results, then do what follows from it."""
    if claims.finish(session, claim, state=state, reason=reason, **values):
        kind_of(claim.table).follow(session, claim.id)


def sweep(session: Session, *, after_pause: bool = False) -> None:
    """Queue again and send again what a dead worker or a lost message left behind; drop old replies and events.

    `after_pause`: no sweep began for longer than a lease. Then the database was away or its clock was set forward,
    and the workers get the time until the next sweep to renew their leases.
    """
    losses.shorten_leases(session)
    if not after_pause:
        losses.release_expired(session)
    losses.resend_waiting(session)
    losses.resend_first(session)
    idempotency.prune(session)
    events.prune(session)


def child_died(session: Session, worker: str, fault: str | None) -> None:
    """Give back what a process had when it died; `fault` says how the job caused that, None: it did not."""
    for row in losses.give_back_of(session, worker, fault):
        session.flush()
        kind_of(type(row)).follow(session, row.id)
