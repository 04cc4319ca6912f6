"""Jobs whose worker or message was lost: what is queued again and when, and what fails at last.

Most processes die for reasons that their job has no part in: a machine goes down, a container is moved, somebody
kills a worker. Such a death never counts, whatever the number: jobs are deterministic, so repeating one is safe.
A death counts where the job itself may have caused it, and that is known only where the worker's parent process
saw its child die of a fault of its own (see `worker/deaths.py`). After the first of these a row is suspect: it
runs while no other job runs on its machine. It fails when `ZOORANK_ATTEMPTS` such deaths have happened.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from sqlalchemy import or_, select, update
from sqlalchemy.orm import load_only
from sqlalchemy.orm.interfaces import ORMOption

from service.jobs import events, order
from service.jobs.claims import LONGEST_PAUSE, may_start
from service.jobs.kinds import KINDS
from service.jobs.messages import enqueue
from service.settings import settings
from service.store.session import Session, database_now
from service.store.tables import Worked, WorkState

RESENT_PER_SWEEP = 10  # rows of each kind
LEASE_RAN_OUT = "the lease of its worker ran out"
PROCESS_DIED = "the process that worked on it was ended"
_MARGIN = 1.0  # seconds by which a lease may be longer than it should be


def pause_after(row: Worked) -> float:
    """Seconds until a row is tried again: none after its first interruption, more after every other."""
    faults = row.attempts - row.releases
    return min(LONGEST_PAUSE, max(0, row.releases - 1) ** 2 / 2 + 10.0 * faults**2)


def shorten_leases(session: Session) -> None:
    """End leases in one lease from now at the latest: longer ones were given before the clock was set back."""
    longest = database_now() + settings().lease_seconds
    for kind in KINDS:
        table = kind.table
        too_long = (table.state == WorkState.RUNNING) & (table.lease_until > longest + _MARGIN)
        session.execute(update(table).where(too_long).values(lease_until=longest))


def release_expired(session: Session) -> None:
    """Queue and enqueue all work whose lease ran out. Why its worker fell silent is unknown: it does not count."""
    for kind in KINDS:
        table = kind.table
        lost = select(table).where(table.state == WorkState.RUNNING, table.lease_until < database_now())
        for row in session.scalars(lost.options(_without_contents(table)).with_for_update(skip_locked=True)):
            row.releases += 1
            _queue_again(session, row, LEASE_RAN_OUT)


def give_back_of(session: Session, worker: str, fault: str | None) -> Iterator[Worked]:
    """Queue what the process of this name (`host:pid:`) had, or fail it; yield the rows that failed."""
    for kind in KINDS:
        table = kind.table
        held = select(table).where(
            table.state == WorkState.RUNNING, table.worker.startswith(worker, autoescape=True)
        )
        for row in session.scalars(held.options(_without_contents(table)).with_for_update(skip_locked=True)):
            if fault is None:
                row.releases += 1
                _queue_again(session, row, PROCESS_DIED)
            elif row.attempts - row.releases < settings().attempts:
                _queue_again(session, row, fault)
            else:
                _fail(session, row, fault)
                yield row


def _queue_again(session: Session, row: Worked, why: str) -> None:
    row.state, row.lease_until, row.stage, row.sent_at = WorkState.QUEUED, None, None, time.time()
    pause = pause_after(row)
    row.not_before = session.scalar(select(database_now() + pause)) if pause else None
    events.write(session, type(row), row.id, state=row.state, attempt=row.attempts, reason=why)
    enqueue(session, type(row), row.id)


def _fail(session: Session, row: Worked, fault: str) -> None:
    row.state, row.lease_until, row.stage, row.finished_at = WorkState.FAILED, None, None, time.time()
    times = row.attempts - row.releases
    alone = ", after the first with nothing else beside it on its machine" if times > 1 else ""
    row.reason = f"its worker process died {times} time{'s' if times > 1 else ''}{alone}: {fault}"
    events.write(session, type(row), row.id, state=row.state, attempt=row.attempts, reason=row.reason)


def _without_contents(table: type[Worked]) -> ORMOption:
    """Load what is decided by; a content that can't be read must not stop the sweep."""
    return load_only(table.state, table.attempts, table.releases)


def resend_waiting(session: Session) -> None:
    """Send queued rows again whose last message is older than `resend_seconds` or, by a clock set back, to come.

    So is a row whose pause is over, since a worker may have got its message during the pause. Those come first,
    then the oldest messages, at most RESENT_PER_SWEEP of each kind: most of these rows wait for a busy worker
    only.
    """
    now, age = time.time(), settings().resend_seconds
    for kind in KINDS:
        table = kind.table
        old = or_(table.sent_at < now - age, table.sent_at > now + age)
        paused = table.not_before.is_not(None)
        waiting = select(table).where(table.state == WorkState.QUEUED, or_(paused, old), may_start(table))
        first = waiting.order_by(table.not_before.is_(None), table.sent_at).limit(RESENT_PER_SWEEP)
        for row in session.scalars(first.options(_without_contents(table)).with_for_update(skip_locked=True)):
            row.sent_at, row.not_before = time.time(), None
            enqueue(session, table, row.id)


def resend_first(session: Session) -> None:
    """Send the row that is first in line again, unless it was sent since the last sweep.

    Beside a suspect row no other is taken, so their messages may all be spent when it ends.
    """
    place = order.first(session, host=order.NO_HOST)
    if place is None:
        return
    row = session.get_one(place[0], place[1], options=[_without_contents(place[0])])
    if abs(time.time() - row.sent_at) >= settings().sweep_seconds:
        row.sent_at = time.time()
        enqueue(session, *place)
