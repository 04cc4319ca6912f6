"""The ranked list as a revision stores it, and the list of today's rows in the order of a stored one."""

from __future__ import annotations

from collections.abc import Sequence

from service.ledger.fusion import Scores
from service.ledger.ranked_list import Candidate, Places, Rows, candidate_of
from service.ledger.wording import listed
from service.store.answer_contents import Coverage, DerivedScore, ListedCandidate, RevisionContent
from service.store.contents import ScoreRecord
from service.store.tables import Ranking, Score, WorkState


def recalled(ranking: Ranking, rows: Rows, content: RevisionContent) -> list[Candidate]:
    """The candidates in the order of a stored revision, with the scores that were derived then."""
    listed = {one.id: one for one in content.order}
    scores = {
        row.id: {**rows.scores[row.id], **_derived_then(listed.get(checkpoint.id))}
        for row, checkpoint in rows.evaluations
    }
    places = Places(ranking.order_by, rows.comparable(ranking), scores, rows.flags)
    candidates = {
        checkpoint.id: candidate_of(
            row,
            checkpoint,
            scores[row.id],
            places,
            position=listed[checkpoint.id].position,
            outcome=listed[checkpoint.id].outcome,
            ranking=ranking,
            published=rows.flags,
        )
        for row, checkpoint in rows.evaluations
        if checkpoint.id in listed
    }
    return [candidates[one.id] for one in content.order if one.id in candidates]


def other_states(candidates: Sequence[Candidate], coverage: Coverage) -> list[str]:
    """A note for each state that candidates had when the revision was stored, and do not have any more."""
    missing = {one.id: one.state for one in coverage.missing}
    changed: dict[tuple[str, str], list[str]] = {}
    for row in candidates:
        states = missing.get(row.checkpoint.id, WorkState.DONE), row.evaluation.state
        changed.setdefault(states, []).append(row.checkpoint.name)
    return [
        f"The state of {listed(names)} is {now} now; it was {then} when this revision was stored."
        for (then, now), names in changed.items()
        if then != now
    ]


def _derived_then(listed: ListedCandidate | None) -> Scores:
    """The derived scores of a stored row, as scores."""
    return {
        name: Score(
            measure=name,
            value=score.value,
            seconds=0.0,
            flags=list(score.flags),
            record=ScoreRecord(score.figures),
            reason=score.reason,
        )
        for name, score in (listed.derived.items() if listed else ())
    }


def to_store(
    candidates: Sequence[Candidate], *, order_by: str, derived: Sequence[str]
) -> tuple[ListedCandidate, ...]:
    """The list as a revision stores it, with the scores whose names are in `derived`."""
    return tuple(
        ListedCandidate(
            id=row.checkpoint.id,
            name=row.checkpoint.name,
            position=row.position,
            score=ordering.value if ordering else None,
            flags=tuple(dict.fromkeys([*row.flags, *(ordering.flags if ordering else ())])),
            derived={name: _derived_to_store(row.scores[name]) for name in derived if name in row.scores},
            outcome=row.outcome,
        )
        for row in candidates
        for ordering in [row.scores.get(order_by)]
    )


def _derived_to_store(score: Score) -> DerivedScore:
    return DerivedScore(
        value=score.value, flags=tuple(score.flags), reason=score.reason, figures=score.record.figures
    )
