"""The order of a ranked list, derived from score rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.store.tables import Checkpoint, Evaluation, Score

# A score with one of these flags can't be ranked by: its candidate stands after all that have a sound one.
UNSOUND = frozenset({"degenerate", "saturated", "not_applicable", "failed"})


@dataclass(frozen=True)
class Candidate:
    """One row of the ranked list; `positions` are the candidate's places by each measure alone."""

    position: int | None
    evaluation: Evaluation
    checkpoint: Checkpoint
    scores: dict[str, Score]
    positions: dict[str, int]


def is_sound(score: Score | None) -> bool:
    """Whether a candidate can be placed by this score."""
    return score is not None and score.value is not None and UNSOUND.isdisjoint(score.flags)


def places(values: dict[str, float]) -> dict[str, int]:
    """Key -> place, 1 for the highest value; equal values share the better place."""
    ordered = sorted(values.values(), reverse=True)
    return {key: ordered.index(value) + 1 for key, value in values.items()}


def in_order(rows: Sequence[tuple[Evaluation, Checkpoint, Sequence[Score]]], *, order_by: str) -> list[Candidate]:
    """Best first by `order_by`; then candidates without a sound score, then open ones, then failed ones."""
    scores = {row.id: {score.measure: score for score in own} for row, _, own in rows}
    standing = {row.id: scores[row.id] for row, _, _ in rows if row.state in ("running", "done")}
    measures = {measure for own in standing.values() for measure in own}
    by_measure = {measure: _places_by(measure, standing) for measure in measures}
    ordering = _places_by(order_by, {row.id: scores[row.id] for row, _, _ in rows if row.state == "done"})
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
    group = {"done": 1, "running": 2, "queued": 3}.get(state, 4)
    return (group, 0, candidate.checkpoint.name)
