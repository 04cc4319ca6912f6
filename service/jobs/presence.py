"""Which workers are there: each says at short intervals that it lives, and they take turns in sweeping."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from service.jobs import ending
from service.jobs.leftovers import remove_leftovers
from service.settings import settings
from service.store import workers
from service.store.session import Session, reading, transaction
from service.store.tables import Worker

BEATS_A_LEASE = 4
SWEEPS_MISSED = 3  # before it is told


@dataclass(frozen=True)
class Presence:
    """The number of live workers, when any was last seen, and when the last sweep began; seconds since 1970.

    A worker is alive while it was seen within the last `ZOORANK_LEASE_SECONDS`. None: never. All is by the
    database's clock, which may differ from this machine's.
    """

    alive: int
    last_seen: float | None
    last_sweep: float | None
    since_sweep: float | None = None  # seconds


NO_WORKER_REMEDY = "start one with `zoorank worker`, or `zoorank serve`, which has one"


def missing(there: Presence) -> str | None:
    """What to say while no worker is alive, with since when; None while one is."""
    if there.alive:
        return None
    if there.last_seen is None:
        return f"No worker has said that it lives so far, so what is queued waits; {NO_WORKER_REMEDY}."
    since = datetime.fromtimestamp(there.last_seen, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"No worker is alive since {since}, so what is queued waits; {NO_WORKER_REMEDY}."


def overdue(there: Presence) -> str | None:
    """What to say when no sweep began for long, although workers are alive; None otherwise."""
    longest = SWEEPS_MISSED * settings().sweep_seconds + settings().lease_seconds
    if not there.alive or there.since_sweep is None or there.since_sweep < longest:
        return None
    return f"No sweep for lost work began in the last {there.since_sweep:.0f} seconds; see the workers' log."


def beat_seconds() -> float:
    """Seconds between two signs of life of one worker."""
    config = settings()
    return min(config.sweep_seconds, config.lease_seconds / BEATS_A_LEASE)


def presence(session: Session) -> Presence:
    """Which workers are there now."""
    alive = workers.alive(session, within=settings().lease_seconds)
    return Presence(alive, workers.last_seen(session), workers.last_sweep(session), workers.since_sweep(session))


def say_alive(worker: Worker) -> None:
    """Write that this worker was seen now."""
    with transaction() as session:
        workers.seen(session, worker)


def say_stopped(worker: Worker) -> None:
    """Write that this worker was stopped."""
    with transaction() as session:
        workers.stopped(session, worker.id)


def sweep_when_due() -> bool:
    """Sweep unless another worker did within the last `ZOORANK_SWEEP_SECONDS`; whether this one swept.

    The turn is taken in a transaction of its own: a worker that stands still while it sweeps holds up no other.
    """
    with transaction() as session:
        pause = workers.begin_sweep(session, every=settings().sweep_seconds)
    if pause is None:
        return False
    with transaction() as session:
        ending.sweep(session, after_pause=pause > max(settings().lease_seconds, 2 * settings().sweep_seconds))
        workers.prune(session)
    with reading() as session:
        remove_leftovers(session)
    return True
