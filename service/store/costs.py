"""Durations of past evaluations, by which the next ones are estimated."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.store.contents import EvaluationFacts, Protocol
from service.store.tables import Checkpoint, Evaluation, Ranking, Values, WorkState

NEWEST = 500  # looked at, at most


@dataclass(frozen=True)
class Past:
    """One evaluation that ended well: of what network, by which protocol, and what its worker noted."""

    architecture: str
    parameters: Values
    protocol: Protocol
    facts: EvaluationFacts


def past(session: Session, dataset_id: str) -> list[Past]:
    """The newest evaluations of candidates for this dataset, newest first."""
    rows = session.execute(
        select(Checkpoint.architecture, Checkpoint.parameters, Ranking.protocol, Evaluation.facts)
        .select_from(Evaluation)
        .join(Ranking, Evaluation.ranking_id == Ranking.id)
        .join(Checkpoint, Evaluation.checkpoint_id == Checkpoint.id)
        .where(Ranking.dataset_id == dataset_id, Evaluation.state == WorkState.DONE)
        .order_by(Evaluation.id.desc())
        .limit(NEWEST)
    )
    return [
        Past(kind, parameters, protocol, facts or EvaluationFacts()) for kind, parameters, protocol, facts in rows
    ]
