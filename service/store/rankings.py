"""Rows of rankings, their evaluations and the scores."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, case, distinct, func, not_, or_, select
from sqlalchemy.orm import Session, defer

from service.store.contents import Protocol
from service.store.paging import page
from service.store.tables import (
    Checkpoint,
    Dataset,
    Evaluation,
    LedgerRow,
    Ranking,
    Score,
    WorkState,
)


def find(session: Session, ranking_id: str) -> Ranking | None:
    """The ranking with this id."""
    return session.get(Ranking, ranking_id)


def listed(
    session: Session,
    *,
    after: str | None,
    limit: int,
    dataset_id: str | None = None,
    combinations: Mapping[bool, Collection[Collection[WorkState]]] | None = None,
) -> list[Ranking]:
    """One page, newest first.

    `combinations` are those of the evaluations' states, see ledger.ranking_state: under True for rankings whose
    answer is due, under False for all others.
    """
    query = select(Ranking)
    if dataset_id:
        query = query.where(Ranking.dataset_id == dataset_id)
    if combinations is not None:
        due = Ranking.answer_due_at.is_not(None)
        query = query.where(
            or_(
                and_(due, _in_combinations(combinations[True])),
                and_(not_(due), _in_combinations(combinations[False])),
            )
        )
    return page(session, query, Ranking.id, after=after, limit=limit)


def candidates_of(session: Session, ranking_id: str) -> list[tuple[Evaluation, Checkpoint]]:
    """Every evaluation of a ranking with its checkpoint, in the order of the request."""
    rows = session.execute(
        select(Evaluation, Checkpoint)
        .join(Checkpoint, Evaluation.checkpoint_id == Checkpoint.id)
        .where(Evaluation.ranking_id == ranking_id)
        .order_by(Evaluation.id)
    )
    return [(evaluation, checkpoint) for evaluation, checkpoint in rows]


def scores_by_evaluation(session: Session, ranking_id: str, *, records: bool) -> dict[str, list[Score]]:
    """Evaluation id -> its scores; their long records are loaded with `records` only."""
    query = select(Score).join(Evaluation).where(Evaluation.ranking_id == ranking_id)
    scores: dict[str, list[Score]] = {}
    for score in session.scalars(query if records else query.options(defer(Score.record))):
        scores.setdefault(score.evaluation_id, []).append(score)
    return scores


def evaluations_with_key(session: Session, content_key: str) -> list[Evaluation]:
    """Finished evaluations of equal weights, data, protocol and code, newest first."""
    equal = select(Evaluation).where(Evaluation.content_key == content_key, Evaluation.state == WorkState.DONE)
    return list(session.scalars(equal.order_by(Evaluation.id.desc())))


def scores_of(session: Session, evaluation_id: str) -> list[Score]:
    """All scores of one evaluation."""
    return list(session.scalars(select(Score).where(Score.evaluation_id == evaluation_id)))


@dataclass(frozen=True)
class PastScore:
    """One score of a finished evaluation, and by which protocol it was computed."""

    target: str
    protocol: Protocol
    measure: str
    candidate: str
    value: float
    flags: list[str]


def scores_of_ledger_targets(session: Session) -> Iterator[PastScore]:
    """Every score with a value on a target that has outcomes in the ledger, oldest evaluation first."""
    query = (
        select(Dataset.name, Ranking.protocol, Score.measure, Checkpoint.name, Score.value, Score.flags)
        .select_from(Score)
        .join(Evaluation, Score.evaluation_id == Evaluation.id)
        .join(Ranking, Evaluation.ranking_id == Ranking.id)
        .join(Dataset, Ranking.dataset_id == Dataset.id)
        .join(Checkpoint, Evaluation.checkpoint_id == Checkpoint.id)
        .where(Evaluation.state == WorkState.DONE, Score.value.is_not(None))
        .where(Dataset.name.in_(select(LedgerRow.target).where(LedgerRow.kind == "outcome")))
        .order_by(Evaluation.id)
    )
    for target, protocol, measure, candidate, value, flags in session.execute(query):
        yield PastScore(target, protocol, measure, candidate, value, flags)


def states(session: Session, ranking_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many evaluations of each ranking are in which state."""
    counts: dict[str, dict[str, int]] = {ranking_id: {} for ranking_id in ranking_ids}
    query = (
        select(Evaluation.ranking_id, Evaluation.state, func.count())
        .where(Evaluation.ranking_id.in_(ranking_ids))
        .group_by(Evaluation.ranking_id, Evaluation.state)
    )
    for ranking_id, state, count in session.execute(query):
        counts[ranking_id][state] = count
    return counts


def lock(session: Session, ranking: Ranking) -> dict[str, int]:
    """Lock a ranking's evaluations, then the ranking; how many evaluations are in which state."""
    counts: dict[str, int] = {}
    for state in session.scalars(
        select(Evaluation.state)
        .where(Evaluation.ranking_id == ranking.id)
        .order_by(Evaluation.id)
        .with_for_update()
    ):
        counts[state] = counts.get(state, 0) + 1
    session.refresh(ranking, with_for_update=True)
    return counts


def _in_combinations(combinations: Collection[Collection[WorkState]]) -> ColumnElement[bool]:
    """Whether the states of a ranking's evaluations, taken together, are one of these combinations."""
    bit = {state: 1 << number for number, state in enumerate(WorkState)}
    bits = func.coalesce(func.sum(distinct(case(bit, value=Evaluation.state))), 0)
    combination = select(bits).where(Evaluation.ranking_id == Ranking.id).scalar_subquery()
    return combination.in_([sum(bit[state] for state in states) for states in combinations])
