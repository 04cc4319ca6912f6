"""The ranked list of one ranking, derived from its rows and the ledger at every call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.ledger.fusion import Fusion, fusion
from service.ledger.soundness import is_sound
from service.store import rankings
from service.store.session import Session
from service.store.tables import Checkpoint, Evaluation, Ranking, Score, WorkState


@dataclass(frozen=True)
class Candidate:
    """One row of the ranked list; `positions` are the candidate's places by each measure alone."""

    position: int | None
    evaluation: Evaluation
    checkpoint: Checkpoint
    scores: dict[str, Score]
    positions: dict[str, int]


@dataclass(frozen=True)
class RankedList:
    """Candidates in order, and what the ledger says of them."""

    candidates: list[Candidate]
    fusion: Fusion


def rank(session: Session, ranking: Ranking, *, records: bool = False) -> RankedList:
    """The ranked list, best first; the scores' long records are loaded with `records` only."""
    # Evaluations before scores: one that is done has all its scores, also where each query sees its own moment.
    rows = rankings.candidates_of(session, ranking.id)
    scores = rankings.scores_by_evaluation(session, ranking.id, records=records)
    done = {
        checkpoint.name: {score.measure: score for score in scores.get(row.id, [])}
        for row, checkpoint in rows
        if row.state == WorkState.DONE
    }
    fused = fusion(session, ranking, done)
    derived = {name: fused.scores(name) for name in done}
    with_derived = [
        (row, checkpoint, scores.get(row.id, []) + derived.get(checkpoint.name, [])) for row, checkpoint in rows
    ]
    return RankedList(in_order(with_derived, order_by=ranking.order_by), fused)


def places(values: dict[str, float]) -> dict[str, int]:
    """Key -> place, 1 for the highest value; equal values share the better place."""
    ordered = sorted(values.values(), reverse=True)
    return {key: ordered.index(value) + 1 for key, value in values.items()}


def in_order(rows: Sequence[tuple[Evaluation, Checkpoint, Sequence[Score]]], *, order_by: str) -> list[Candidate]:
    """Best first by `order_by`; then candidates without a sound score, then open ones, then failed ones."""
    scores = {row.id: {score.measure: score for score in own} for row, _, own in rows}
    standing = {row.id: scores[row.id] for row, _, _ in rows if row.state in (WorkState.RUNNING, WorkState.DONE)}
    measures = {measure for own in standing.values() for measure in own}
    by_measure = {measure: _places_by(measure, standing) for measure in measures}
    ordering = _places_by(order_by, {row.id: scores[row.id] for row, _, _ in rows if row.state == WorkState.DONE})
    found = [
        Candidate(
            position=ordering.get(row.id),
            evaluation=row,
            checkpoint=checkpoint,
            scores=scores[row.id],
            positions={measure: place[row.id] for measure, place in by_measure.items() if row.id in place},
        )
        for row, checkpoint, _ in rows
    ]
    return sorted(found, key=_standing)


def _places_by(measure: str, scores: dict[str, dict[str, Score]]) -> dict[str, int]:
    own = {key: of_candidate.get(measure) for key, of_candidate in scores.items()}
    values = {
        key: score.value
        for key, score in own.items()
        if score is not None and score.value is not None and is_sound(score)
    }
    return places(values)


def _standing(candidate: Candidate) -> tuple[int, int, str]:
    state = candidate.evaluation.state
    if candidate.position is not None:
        return (0, candidate.position, candidate.checkpoint.name)
    group = {WorkState.DONE: 1, WorkState.RUNNING: 2, WorkState.QUEUED: 3}.get(WorkState(state), 4)
    return (group, 0, candidate.checkpoint.name)
