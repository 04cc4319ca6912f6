"""Claim, renew, finish, release: one worker at a time owns a row; its every write carries its token."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, or_, select, update
from sqlalchemy.orm import Session

from service import queue
from service.settings import settings
from service.store.session import database_now, ring
from service.store.tables import Checkpoint, Dataset, Evaluation, FinetuneRun, Worked

OPEN_STATES = ("queued", "running")
RINGS_A_SWEEP = 10  # of each kind

# Which doorbell brings a row of this table to a worker.
TASKS: dict[type[Worked], str] = {
    Dataset: queue.INSPECT_DATASET,
    Checkpoint: queue.PREFLIGHT_CHECKPOINT,
    Evaluation: queue.SCORE_CANDIDATE,
    FinetuneRun: queue.RUN_FINETUNE,
}


class LeaseLostError(Exception):
    """The row was canceled, or its lease ran out and it belongs to somebody else: stop, write nothing."""


@dataclass(frozen=True)
class Claim:
    """The right to write one row, until its lease runs out: `token` is the attempt it was given for."""

    kind: type[Worked]
    id: str
    token: int


def claim(session: Session, kind: type[Worked], row_id: str, *, worker: str) -> Claim | None:
    """Take a row that is queued, or whose lease ran out; None when somebody else has it or it is over."""
    config = settings()
    expired = and_(kind.state == "running", kind.lease_until < database_now())
    token = session.execute(
        update(kind)
        .where(
            kind.id == row_id,
            or_(kind.state == "queued", expired),
            kind.attempts - kind.releases < config.attempts,
        )
        .values(
            state="running",
            attempts=kind.attempts + 1,
            lease_until=database_now() + config.lease_seconds,
            worker=worker,
            started_at=time.time(),
            stage="starting",
            steps_done=0,
            steps_total=0,
        )
        .returning(kind.attempts)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    return None if token is None else Claim(kind, row_id, token)


def renew(session: Session, held: Claim, *, stage: str, done: int, total: int) -> None:
    """Hold the row for another lease and say how far the work is; LeaseLostError when it is not ours."""
    lease = database_now() + settings().lease_seconds
    _write(session, held, lease_until=lease, stage=stage, steps_done=done, steps_total=total)


def finish(session: Session, held: Claim, *, state: str, reason: str | None = None, **values: Any) -> None:
    """End the work with its last state; LeaseLostError when it is no longer ours."""
    ended = {"lease_until": None, "stage": None, "finished_at": time.time()}
    _write(session, held, state=state, reason=reason, **ended, **values)


def release(session: Session, held: Claim) -> None:
    """Give the row back unfinished, and ring for it; LeaseLostError when it is no longer ours."""
    _write(session, held, state="queued", lease_until=None, stage=None, releases=held.kind.releases + 1)
    ring(session, TASKS[held.kind], held.id)


def hold(session: Session, held: Claim) -> None:
    """Lock the row for this transaction; LeaseLostError when it is no longer ours."""
    _write(session, held, attempts=held.token)


def _write(session: Session, held: Claim, **values: Any) -> None:
    kind = held.kind
    ours = session.execute(
        update(kind)
        .where(kind.id == held.id, kind.state == "running", kind.attempts == held.token)
        .values(**values)
        .returning(kind.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if ours is None:
        raise LeaseLostError(f"{held.id}: attempt {held.token} no longer holds it")


def release_expired(session: Session) -> Iterator[Worked]:
    """Queue again and ring for all work whose lease ran out; yield what has no attempt left, now failed."""
    config = settings()
    for kind, task in TASKS.items():
        lost = select(kind).where(kind.state == "running", kind.lease_until < database_now())
        for row in session.scalars(lost.with_for_update(skip_locked=True)):
            row.lease_until, row.stage = None, None
            if row.attempts - row.releases >= config.attempts:
                row.state, row.finished_at = "failed", time.time()
                row.reason = (
                    f"its worker died {row.attempts - row.releases} times (out of memory, killed, or longer than "
                    "ZOORANK_TASK_SECONDS); use a smaller batch or crop, or a larger machine"
                )
                yield row
            else:
                row.state, row.sent_at = "queued", time.time()
                ring(session, task, row.id)


def ring_forgotten(session: Session) -> None:
    """Ring again for work that nobody was rung for since `resend_seconds`: the longest unheard first, a few at
    a time, since most of it only waits for a busy worker."""
    for kind, task in TASKS.items():
        old = time.time() - settings().resend_seconds
        waiting = select(kind).where(kind.state == "queued", kind.sent_at < old).order_by(kind.sent_at)
        for row in session.scalars(waiting.limit(RINGS_A_SWEEP).with_for_update(skip_locked=True)):
            row.sent_at = time.time()
            ring(session, task, row.id)
