"""The common number of features of a ranking's candidates, which its protocol has once all preflights are over."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Select, exists, select
from sqlalchemy.orm import aliased

from service.store import capabilities
from service.store.published import MEASURES
from service.store.session import Session
from service.store.tables import OPEN_STATES, Checkpoint, Evaluation, Ranking, WorkState


def are_open(session: Session, ranking: Ranking) -> bool:
    """Whether the common width is still to be settled, and the preflight of a candidate is not over."""
    open_ones = _candidates(ranking).where(Checkpoint.state.in_(OPEN_STATES))
    return _is_unsettled(session, ranking) and session.scalar(open_ones.limit(1)) is not None


def unready(session: Session) -> list[str]:
    """Ids of the rankings whose common width is still to be settled while a preflight of theirs is open."""
    open_ones = select(Evaluation.ranking_id).join(Checkpoint).where(Checkpoint.state.in_(OPEN_STATES))
    rankings = session.scalars(select(Ranking).where(Ranking.id.in_(open_ones)))
    return [ranking.id for ranking in rankings if _is_unsettled(session, ranking)]


def settle(session: Session, ranking: Ranking) -> None:
    """Set the protocol's `feature_width` to the smallest of the candidates' widths, once; 0 where none is known.

    It stays null where no measure of the ranking grows with the width, and what it is where a request gave it.
    """
    if _is_unsettled(session, ranking):
        usable = session.scalars(_candidates(ranking).where(Checkpoint.state == WorkState.DONE))
        widths = [row.preflight.width_of(ranking.protocol.stage) for row in usable if row.preflight]
        smallest = min((width for width in widths if width is not None), default=0)
        ranking.protocol = replace(ranking.protocol, feature_width=smallest)


def waiting_for(session: Session, checkpoint_id: str) -> list[str]:
    """Ids of the queued evaluations of rankings with this candidate whose preflights are all over."""
    listed, other = aliased(Evaluation), aliased(Evaluation)
    still_open = exists().where(
        other.ranking_id == Evaluation.ranking_id,
        other.checkpoint_id == Checkpoint.id,
        Checkpoint.state.in_(OPEN_STATES),
    )
    waiting = (
        select(Evaluation.id)
        .join(listed, listed.ranking_id == Evaluation.ranking_id)
        .where(listed.checkpoint_id == checkpoint_id, Evaluation.checkpoint_id != checkpoint_id)
        .where(Evaluation.state == WorkState.QUEUED, ~still_open)
    )
    return list(session.scalars(waiting))


def _candidates(ranking: Ranking) -> Select[Checkpoint]:
    return select(Checkpoint).join(Evaluation).where(Evaluation.ranking_id == ranking.id)


def _is_unsettled(session: Session, ranking: Ranking) -> bool:
    if ranking.protocol.feature_width is not None:
        return False
    published = capabilities.of_kind(session, MEASURES)
    return any(name in published and published[name].grows_with_width for name in ranking.measures)
