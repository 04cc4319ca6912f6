"""Hold a claim while computing: a heartbeat renews it and carries the progress; a lost one stops the work."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from models_zoo.errors import ZooError
from models_zoo.machine import is_out_of_memory
from service.jobs import Session, check_storable, ending, outlast, passes, transaction, write
from service.jobs.claims import Claim, LeaseLostError, release, renew
from service.settings import settings
from worker import stopping
from worker.science.errors import ScienceError
from worker.science.specs import Progress
from worker.tasks.outcome import Outcome
from worker.tasks.reasons import reason_of

BEATS_A_LEASE = 4
OUT_OF_MEMORY = "out of memory: use a smaller batch_size or crop, or a larger machine"
LONGEST_BEAT = 1.0  # seconds: progress is watched
PAUSE_SECONDS = 60.0  # after a job has waited in vain, for others
_log = logging.getLogger(__name__)


T = TypeVar("T")


class StoppedError(Exception):
    """The worker stops: the job is given back unfinished."""


class Heartbeat(threading.Thread):
    """Renews a claim until it is stopped or lost."""

    def __init__(self, claim: Claim) -> None:
        super().__init__(name=f"heartbeat-{claim.id}", daemon=True)
        self._claim = claim
        self._over = threading.Event()
        self._lost = threading.Event()
        self._at: tuple[str, int, int] = ("starting", 0, 0)

    def progress(self, stage: str, done: int, total: int) -> None:
        """Note the progress of the job; LeaseLostError or StoppedError when it must stop."""
        if self._lost.is_set():
            raise LeaseLostError(self._claim.id)
        if stopping.requested():
            raise StoppedError(self._claim.id)
        self._at = (stage, done, total)

    def run(self) -> None:
        """Renew the lease until stopped. A database out of reach is tried again: the lease outlives some beats."""
        pause = min(settings().lease_seconds / BEATS_A_LEASE, LONGEST_BEAT)
        while not self._over.wait(pause):
            stage, done, total = self._at
            try:
                with transaction() as session:
                    renew(session, self._claim, stage=stage, done=done, total=total)
            except LeaseLostError:
                self._lost.set()
                return
            except Exception as error:
                _log.warning("heartbeat of %s failed: %s", self._claim.id, type(error).__name__)

    def stop(self) -> None:
        """End the thread and wait until its last renewal is over."""
        self._over.set()
        self.join()


@contextmanager
def beating(claim: Claim) -> Iterator[Progress]:
    """Keep the claim alive while the body computes; the body reports through what is yielded."""
    heartbeat = Heartbeat(claim)
    heartbeat.start()
    try:
        yield heartbeat.progress
    finally:
        heartbeat.stop()


def waiting(act: Callable[[Session], T]) -> T:
    """What `act` gives in a transaction, when the database is there again; StoppedError when the worker stops."""
    return write(act, meanwhile=stop_when_asked)


def stop_when_asked() -> None:
    """StoppedError when the worker stops."""
    if stopping.requested():
        raise StoppedError


def carry_out(claim: Claim, compute: Callable[[Progress], Outcome]) -> None:
    """Compute under a heartbeat, then record: done with the outcome, or failed with the reason.

    A job that finds its file out of reach begins again once it is there.
    """
    _log.info("%s: attempt %d", claim.id, claim.token)
    try:
        with beating(claim) as progress:
            ended = outlast(
                lambda: _outcome_or_reason(claim, lambda: compute(progress)),
                meanwhile=lambda: progress("waiting", 0, 0),
            )
            write(lambda session: _end(session, claim, ended), meanwhile=lambda: progress("recording", 0, 0))
    except LeaseLostError:
        _log.info("%s: attempt %d lost its lease or was canceled", claim.id, claim.token)
    except StoppedError:
        _give_back(claim, "the worker stops")
    except Exception as error:
        if not passes(error):
            raise
        _give_back(claim, f"it waited too long ({type(error).__name__})", pause=PAUSE_SECONDS)


def _end(session: Session, claim: Claim, ended: Outcome | str) -> None:
    if isinstance(ended, str):
        ending.complete(session, claim, state="failed", reason=ended)
    else:
        ending.complete(session, claim, state="done", **ended.columns())


def _give_back(claim: Claim, why: str, *, pause: float = 0.0) -> None:
    """Queue the job again; where the database is away, its lease runs out instead."""
    try:
        with transaction() as session:
            release(session, claim, pause=pause)
        _log.info("%s: attempt %d was given back, since %s", claim.id, claim.token, why)
    except LeaseLostError:
        _log.info("%s: attempt %d lost its lease or was canceled", claim.id, claim.token)
    except Exception as error:
        if not passes(error):
            raise
        _log.warning("%s: attempt %d waits for the end of its lease, since %s", claim.id, claim.token, why)


def _outcome_or_reason(claim: Claim, compute: Callable[[], Outcome]) -> Outcome | str:
    try:
        outcome = compute()
        for value in outcome.columns().values():
            check_storable(value)
        return outcome
    except (LeaseLostError, StoppedError):
        raise
    except (ScienceError, ZooError) as error:
        return reason_of(error)
    except Exception as error:
        if passes(error):  # no fault of the job: it is repeated
            raise
        if is_out_of_memory(error):
            return OUT_OF_MEMORY
        _log.exception("%s failed", claim.id)
        return f"internal error ({type(error).__name__}): the worker's log has the details"
