"""Recording the scores of a claimed evaluation, and copying them from an equal one."""

from __future__ import annotations

from service.jobs.claims import Claim, hold
from service.jobs.work import EvaluationWork
from service.store import rankings
from service.store.session import Session
from service.store.tables import Evaluation, Score

_COPIED = ("measure", "value", "spread", "seconds", "flags", "record", "reason")


def record_score(session: Session, claim: Claim, score: Score) -> None:
    """Keep one measure's score of a claimed evaluation; recording it again replaces the first."""
    hold(session, claim)
    score.evaluation_id = claim.id
    session.merge(score)


def copy_scores(session: Session, work: EvaluationWork, content_key: str) -> Evaluation | None:
    """Give a claimed evaluation the scores of an equal one that has them all; that evaluation, or None."""
    for donor in rankings.evaluations_with_key(session, content_key):
        scores = rankings.scores_of(session, donor.id)
        if {score.measure for score in scores} >= set(work.measures):
            for score in scores:
                if score.measure in work.measures:
                    record_score(session, work.claim, _copy(score))
            return donor
    return None


def _copy(score: Score) -> Score:
    return Score(**{field: getattr(score, field) for field in _COPIED})
