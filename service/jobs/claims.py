"""Claim, renew, finish and release a row: one worker at a time owns it, and every write carries its token."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, or_, select, update
from sqlalchemy.orm import load_only
from sqlalchemy.sql.base import ExecutableOption

from service.jobs import events
from service.jobs.kinds import KINDS
from service.jobs.messages import enqueue
from service.settings import settings
from service.store.session import Session, database_now
from service.store.tables import Worked, WorkState

RESENT_PER_SWEEP = 10  # rows of each kind
LEASE_RAN_OUT = "the lease of its worker ran out"


class LeaseLostError(Exception):
    """The row was canceled, or its lease ran out and another worker has it: stop, and write nothing."""


@dataclass(frozen=True)
class Claim:
    """The right to write one row until its lease runs out; `token` is the number of the attempt."""

    table: type[Worked]
    id: str
    token: int


def claim(session: Session, table: type[Worked], row_id: str, *, worker: str) -> Claim | None:
    """Take a row that is queued or whose lease ran out; None when another worker has it or it has ended."""
    config = settings()
    expired = and_(table.state == WorkState.RUNNING, table.lease_until < database_now())
    token = session.execute(
        update(table)
        .where(
            table.id == row_id,
            or_(table.state == WorkState.QUEUED, expired),
            table.attempts - table.releases < config.attempts,
        )
        .values(
            state=WorkState.RUNNING,
            attempts=table.attempts + 1,
            lease_until=database_now() + config.lease_seconds,
            worker=worker,
            started_at=time.time(),
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


def finish(session: Session, claim: Claim, *, state: str, reason: str | None = None, **values: Any) -> None:
    """Write the last state and the results; LeaseLostError when the claim no longer holds."""
    ended = {"lease_until": None, "stage": None, "finished_at": time.time()}
    _write(session, claim, state=state, reason=reason, **ended, **values)
    events.write(session, claim.table, claim.id, state=state, attempt=claim.token, reason=reason)


def release(session: Session, claim: Claim) -> None:
    """Give the row back unfinished and enqueue it again; LeaseLostError when the claim no longer holds."""
    _write(session, claim, state=WorkState.QUEUED, lease_until=None, stage=None, releases=claim.table.releases + 1)
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


def _without_contents(table: type[Worked]) -> ExecutableOption:
    """Load what a sweep decides by; a content that can't be read must not stop the sweep."""
    return load_only(table.state, table.attempts, table.releases)


def release_expired(session: Session) -> Iterator[Worked]:
    """Queue and enqueue all work whose lease ran out; yield the rows without an attempt left, which now failed."""
    config = settings()
    for kind in KINDS:
        table = kind.table
        lost = select(table).where(table.state == WorkState.RUNNING, table.lease_until < database_now())
        for row in session.scalars(lost.options(_without_contents(table)).with_for_update(skip_locked=True)):
            row.lease_until, row.stage = None, None
            if row.attempts - row.releases >= config.attempts:
                row.state, row.finished_at = WorkState.FAILED, time.time()
                row.reason = (
                    f"its worker died {row.attempts - row.releases} times (out of memory, killed, or longer than "
                    "ZOORANK_TASK_SECONDS); use a smaller batch or crop, or a larger machine"
                )
                events.write(session, table, row.id, state=row.state, attempt=row.attempts, reason=row.reason)
                yield row
            else:
                row.state, row.sent_at = WorkState.QUEUED, time.time()
                events.write(session, table, row.id, state=row.state, attempt=row.attempts, reason=LEASE_RAN_OUT)
                enqueue(session, table, row.id)


def resend_waiting(session: Session) -> None:
    """Send queued rows again whose last message is older than `resend_seconds`.

    The oldest messages come first, at most RESENT_PER_SWEEP of each kind: most of these rows wait for a busy
    worker only.
    """
    oldest = time.time() - settings().resend_seconds
    for kind in KINDS:
        table = kind.table
        waiting = select(table).where(table.state == WorkState.QUEUED, table.sent_at < oldest)
        first = waiting.order_by(table.sent_at).limit(RESENT_PER_SWEEP)
        for row in session.scalars(first.options(_without_contents(table)).with_for_update(skip_locked=True)):
            row.sent_at = time.time()
            enqueue(session, table, row.id)
