"""Claim, renew, finish and release a row: one worker at a time owns it, and every write carries its token.

Leases are compared with the database's clock alone, so the clocks of the workers' machines play no part.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, case, or_, select, update

from service.jobs import events
from service.jobs.messages import enqueue
from service.settings import settings
from service.store.session import Session, database_now
from service.store.tables import Worked, WorkState

LONGEST_PAUSE = 300.0  # seconds from the loss of a job to its next attempt


class LeaseLostError(Exception):
    """The row was canceled, or its lease ran out and another worker has it: stop, and write nothing."""


@dataclass(frozen=True)
class Claim:
    """The right to write one row until its lease runs out; `token` is the number of the attempt."""

    table: type[Worked]
    id: str
    token: int


def may_start(table: type[Worked]) -> ColumnElement[bool]:
    """Whether a row's pause is over; one that seems longer than any pause was set before the clock went back."""
    now = database_now()
    return or_(table.not_before.is_(None), table.not_before <= now, table.not_before > now + LONGEST_PAUSE)


def given_up(table: type[Worked]) -> ColumnElement[bool]:
    """Whether a row failed since its own faults ended one process after another, and not by what it found."""
    return and_(table.state == WorkState.FAILED, table.attempts - table.releases >= settings().attempts)


def claim(session: Session, table: type[Worked], row_id: str, *, worker: str) -> Claim | None:
    """Take a row that is queued or whose lease ran out; None when another worker has it or it has ended."""
    config = settings()
    expired = and_(table.state == WorkState.RUNNING, table.lease_until < database_now())
    token = session.execute(
        update(table)
        .where(
            table.id == row_id,
            or_(table.state == WorkState.QUEUED, expired),
        )
        .values(
            state=WorkState.RUNNING,
            attempts=table.attempts + 1,
            releases=table.releases + case((table.state == WorkState.RUNNING, 1), else_=0),
            lease_until=database_now() + config.lease_seconds,
            worker=worker,
            started_at=time.time(),
            not_before=None,
            stage="starting",
            steps_done=0,
            steps_total=0,
        )
        .returning(table.attempts)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if token is None:
        return None
    events.write(session, table, row_id, state=WorkState.RUNNING, attempt=token)
    return Claim(table, row_id, token)


def renew(session: Session, claim: Claim, *, stage: str, done: int, total: int) -> None:
    """Hold the row for another lease and store the progress; LeaseLostError when the claim no longer holds."""
    lease = database_now() + settings().lease_seconds
    _write(session, claim, lease_until=lease, stage=stage, steps_done=done, steps_total=total)


def finish(session: Session, claim: Claim, *, state: str, reason: str | None = None, **values: Any) -> bool:
    """Write the last state and the results; LeaseLostError when the claim no longer holds.

    False when this claim has written them before: its commit went through, but the answer to it was lost.
    """
    ended = {"lease_until": None, "stage": None, "finished_at": time.time(), "releases": claim.table.releases + 1}
    try:
        _write(session, claim, state=state, reason=reason, **ended, **values)
    except LeaseLostError:
        if _ended(session, claim, state):
            return False
        raise
    events.write(session, claim.table, claim.id, state=state, attempt=claim.token, reason=reason)
    return True


def _ended(session: Session, claim: Claim, state: str) -> bool:
    table = claim.table
    written = select(table.id).where(table.id == claim.id, table.attempts == claim.token, table.state == state)
    return session.scalar(written.where(table.finished_at.is_not(None))) is not None


def release(session: Session, claim: Claim, *, pause: float = 0.0) -> None:
    """Give the row back unfinished and enqueue it again; LeaseLostError when the claim no longer holds.

    It is not tried again for `pause` seconds, in which others have their turn.
    """
    given_back = {"state": WorkState.QUEUED, "lease_until": None, "stage": None}
    later = database_now() + pause if pause else None
    _write(session, claim, **given_back, releases=claim.table.releases + 1, not_before=later)
    events.write(session, claim.table, claim.id, state=WorkState.QUEUED, attempt=claim.token)
    enqueue(session, claim.table, claim.id)


def hold(session: Session, claim: Claim) -> None:
    """Lock the row for this transaction; LeaseLostError when the claim no longer holds."""
    _write(session, claim, attempts=claim.token)


def _write(session: Session, claim: Claim, **values: Any) -> None:
    table = claim.table
    written = session.execute(
        update(table)
        .where(table.id == claim.id, table.state == WorkState.RUNNING, table.attempts == claim.token)
        .values(**values)
        .returning(table.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if written is None:
        raise LeaseLostError(f"{claim.id}: attempt {claim.token} no longer holds it")


def fail_queued(session: Session, row: Worked, *, reason: str) -> None:
    """Fail a row that nobody has; one that was taken, canceled or ended meanwhile is left as it is."""
    table = type(row)
    failed = session.execute(
        update(table)
        .where(table.id == row.id, table.state == WorkState.QUEUED)
        .values(state=WorkState.FAILED, reason=reason, finished_at=time.time())
        .returning(table.attempts)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if failed is not None:
        events.write(session, table, row.id, state=WorkState.FAILED, attempt=failed, reason=reason)
    session.refresh(row)
