"""Storing a ranking's answer when its last evaluation ends, and again when somebody asks for it.

An answer is derived in a reading session: while a write lock is held, nothing is. The transaction that ends the
last evaluation only notes that the answer is due. Whoever takes that note from the row stores the answer, once.
When the process dies in between, the note stays, and a sweeper stores the answer.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from sqlalchemy import Exists, exists, select

from service.jobs.claims import given_up
from service.jobs.messages import enqueue
from service.ledger import ranked_list, revisions
from service.settings import settings
from service.store import answers, ledger_changes
from service.store.answer_contents import RevisionContent
from service.store.dict_form import stored
from service.store.session import Session, after_commit, reading, transaction
from service.store.tables import AnswerRevision, Evaluation, FinetuneRun, Ranking

MOST_A_SWEEP = 5
WITHHELD = (
    "No finetune run was started: an evaluation was given up since its process died again and again, and with it "
    "the choice might have been another. Retry the ranking, or request the runs yourself."
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Derived:
    """What a ranking says by the ledger at one of its revisions."""

    content: RevisionContent
    ledger_revision: int


def make_due(session: Session, ranking: Ranking) -> None:
    """Note that a ranking, whose row is locked, has no open evaluation any more; its answer follows the commit."""
    ranking.answer_due_at = time.time()
    after_commit(session, f"answer of {ranking.id}", lambda: store_due(ranking.id))


def store_due(ranking_id: str) -> None:
    """Store the answer of a ranking and start its finetune runs, unless another did.

    What ended before is committed already, so an error costs nothing but time: the answer stays due.
    """
    try:
        _store_due(ranking_id)
    except Exception:
        _log.exception("the answer of %s could not be stored; a sweeper tries again", ranking_id)


def _store_due(ranking_id: str) -> None:
    with reading() as session:
        ranking = session.get(Ranking, ranking_id)
        if ranking is None or ranking.answer_due_at is None:
            return
        due_at, derived = ranking.answer_due_at, derive(session, ranking)
    with transaction() as session:
        if not answers.take_due(session, ranking_id, due_at):
            return
        if answers.has_open_evaluations(session, ranking_id):  # it goes on, and its next end makes it due again
            return
        _start_finetune_runs(session, renew(session, ranking_id, derived))


def derive(session: Session, ranking: Ranking) -> Derived:
    """What the ranking says now; call it in a reading session."""
    said = revisions.derive(session, ranking, ranked_list.rows_of(session, ranking))
    return Derived(said.content, ledger_changes.current(session))


def _add(session: Session, ranking_id: str, derived: Derived) -> AnswerRevision:
    return answers.add(session, ranking_id, derived.content, ledger_revision=derived.ledger_revision)


def store_overdue() -> None:
    """Store answers whose process died before it stored them; at most MOST_A_SWEEP, the longest due first."""
    with reading() as session:
        overdue = answers.overdue(session, seconds=settings().sweep_seconds, limit=MOST_A_SWEEP)
    for ranking_id in overdue:
        store_due(ranking_id)


def renew(session: Session, ranking_id: str, derived: Derived) -> AnswerRevision:
    """Store what was derived as a new revision.

    Where the newest revision says the same, it stays the newest, and holds until this revision of the ledger.
    Where somebody stored one from a later ledger meanwhile, that one is kept.
    """
    session.get_one(Ranking, ranking_id, with_for_update={"key_share": True})
    newest = answers.latest(session, ranking_id)
    if newest is None:
        return _add(session, ranking_id, derived)
    if stored(newest.content) != stored(derived.content) and newest.ledger_revision <= derived.ledger_revision:
        return _add(session, ranking_id, derived)
    newest.holds_until = max(newest.holds_until, derived.ledger_revision)
    return newest


def _start_finetune_runs(session: Session, revision: AnswerRevision) -> None:
    """Start the finetune runs that the request asked for, once: of the best by the stored revision.

    None is started where an evaluation was given up: with it, the choice might have been another.
    """
    ranking = session.get_one(Ranking, revision.ranking_id)
    started = exists().where(FinetuneRun.ranking_id == ranking.id)
    if ranking.finetune_top == 0 or ranking.canceled_at or session.scalar(select(started | _lost(ranking))):
        return
    placed = [row for row in revision.content.order if row.position is not None]
    for row in placed[: ranking.finetune_top]:
        run = FinetuneRun(
            dataset_id=ranking.dataset_id,
            checkpoint_id=row.id,
            ranking_id=ranking.id,
            method=ranking.finetune_method,
            protocol=ranking.finetune_protocol,
        )
        session.add(run)
        session.flush()
        enqueue(session, FinetuneRun, run.id)


def withheld(session: Session, ranking: Ranking) -> list[str]:
    """What to say where finetune runs were asked for and are not started for that reason; empty otherwise."""
    asked = ranking.finetune_top and not ranking.canceled_at
    started = exists().where(FinetuneRun.ranking_id == ranking.id)
    return [WITHHELD] if asked and session.scalar(select(_lost(ranking) & ~started)) else []


def _lost(ranking: Ranking) -> Exists:
    return exists().where(Evaluation.ranking_id == ranking.id, given_up(Evaluation))
