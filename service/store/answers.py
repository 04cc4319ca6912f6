"""Stored revisions of rankings' answers, and which answers are due."""

from __future__ import annotations

import time

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from service.store.answer_contents import RevisionContent
from service.store.tables import OPEN_STATES, AnswerRevision, Evaluation, Ranking


def latest(session: Session, ranking_id: str) -> AnswerRevision | None:
    """The newest revision of a ranking's answer; None where none is stored."""
    query = select(AnswerRevision).where(AnswerRevision.ranking_id == ranking_id)
    return session.scalars(query.order_by(AnswerRevision.number.desc()).limit(1)).first()


def numbered(session: Session, ranking_id: str, number: int) -> AnswerRevision | None:
    """The revision with this number."""
    return session.get(AnswerRevision, (ranking_id, number))


def listed(session: Session, ranking_id: str, *, before: int | None = None, limit: int) -> list[AnswerRevision]:
    """At most `limit` revisions of a ranking's answer with numbers below `before`, newest first."""
    query = select(AnswerRevision).where(AnswerRevision.ranking_id == ranking_id)
    if before is not None:
        query = query.where(AnswerRevision.number < before)
    return list(session.scalars(query.order_by(AnswerRevision.number.desc()).limit(limit)))


def add(session: Session, ranking_id: str, content: RevisionContent, *, ledger_revision: int) -> AnswerRevision:
    """Store the next revision of a ranking whose row this transaction has locked."""
    before = latest(session, ranking_id)
    row = AnswerRevision(
        ranking_id=ranking_id,
        number=before.number + 1 if before else 1,
        ledger_revision=ledger_revision,
        holds_until=ledger_revision,
        content=content,
    )
    session.add(row)
    session.flush()
    return row


def take_due(session: Session, ranking_id: str, due_at: float) -> bool:
    """Lock the ranking and note that its answer is due no more; False where another took it, or it is due anew."""
    taken = session.execute(
        update(Ranking)
        .where(Ranking.id == ranking_id, Ranking.answer_due_at == due_at)
        .values(answer_due_at=None)
        .returning(Ranking.id)
        .execution_options(synchronize_session=False)
    )
    return taken.first() is not None


def overdue(session: Session, *, seconds: float, limit: int) -> list[str]:
    """Ids of rankings whose answer has been due for so many seconds, the longest first."""
    query = select(Ranking.id).where(Ranking.answer_due_at < time.time() - seconds)
    return list(session.scalars(query.order_by(Ranking.answer_due_at).limit(limit)))


def has_open_evaluations(session: Session, ranking_id: str) -> bool:
    """Whether an evaluation of the ranking is not over yet."""
    still_open = exists().where(Evaluation.ranking_id == ranking_id, Evaluation.state.in_(OPEN_STATES))
    return bool(session.scalar(select(still_open)))
