"""Statements on workers: which were seen when, and when the last sweep for lost work began."""

from __future__ import annotations

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from service.store.session import database_now
from service.store.tables import Sweep, Worker

KEPT_SECONDS = 24 * 3600


def seen(session: Session, worker: Worker) -> None:
    """Insert this worker, or write that it was seen now; a worker that is seen is not stopped."""
    alive = {"seen_at": database_now(), "stopped_at": None}
    known = update(Worker).where(Worker.id == worker.id).values(alive).returning(Worker.id)
    if session.execute(known).scalar_one_or_none() is None:
        now = session.scalar(select(database_now()))
        session.add(
            Worker(
                id=worker.id,
                host=worker.host,
                pid=worker.pid,
                devices=worker.devices,
                started_at=now,
                seen_at=now,
            )
        )


def stopped(session: Session, worker_id: str) -> None:
    """Write that this worker was stopped now."""
    session.execute(
        update(Worker).where(Worker.id == worker_id).values(seen_at=database_now(), stopped_at=database_now())
    )


def alive(session: Session, *, within: float) -> int:
    """Number of workers that were not stopped and were seen in the last `within` seconds."""
    lately = Worker.stopped_at.is_(None) & (Worker.seen_at > database_now() - within)
    return session.scalar(select(func.count()).select_from(Worker).where(lately)) or 0


def last_seen(session: Session) -> float | None:
    """When any worker was seen for the last time; None when there never was one."""
    return session.scalar(select(func.max(Worker.seen_at)))


def prune(session: Session) -> None:
    """Delete the workers that were not seen for `KEPT_SECONDS`, except the one that was seen last."""
    old = Worker.seen_at < database_now() - KEPT_SECONDS
    session.execute(delete(Worker).where(old, Worker.seen_at < select(func.max(Worker.seen_at)).scalar_subquery()))


def begin_sweep(session: Session, *, every: float) -> float | None:
    """Seconds since the last sweep began, `every` or more; then this one has begun, and others wait. Else None.

    A beginning that lies in the future by the database's clock is no reason to wait: the clock was set back.
    """
    now = database_now()
    due = or_(Sweep.began_at <= now - every, Sweep.began_at > now + every)
    past = session.scalar(select(now - Sweep.began_at).where(due))
    begun = session.execute(update(Sweep).where(due).values(began_at=now).returning(Sweep.id))
    return past if begun.scalar_one_or_none() is not None else None


def last_sweep(session: Session) -> float | None:
    """When the last sweep began; None when there was none."""
    return session.scalar(select(func.max(Sweep.began_at))) or None


def since_sweep(session: Session) -> float | None:
    """Seconds by the database's clock since the last sweep began; None when there was none."""
    return session.scalar(select(database_now() - func.max(Sweep.began_at)).where(Sweep.began_at > 0))
