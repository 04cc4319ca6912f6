"""The ranked list of one ranking, derived from its rows and the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from service.ledger import flags
from service.ledger.flags import Flags
from service.ledger.fusion import Fusion, Scores, fusion
from service.store import rankings
from service.store.contents import EvaluationFacts, FinetuneProtocol
from service.store.session import Session
from service.store.tables import OPEN_STATES, Checkpoint, Evaluation, Ranking, WorkState

MIXED = "mixed"  # partly loaded candidates are placed as the others are


@dataclass(frozen=True)
class Candidate:
    """One row of the ranked list; `positions` are the candidate's places by each measure alone.

    `outcome` is known on this very target, in the ledger's metric. `finetune_seconds` estimates all epochs of a
    full finetune.
    """

    position: int | None
    evaluation: Evaluation
    checkpoint: Checkpoint
    facts: EvaluationFacts
    scores: Scores
    positions: Mapping[str, int]
    score_flags: Mapping[str, list[str]]  # measure -> the score's own flags, and those of its place in the list
    outcome: float | None
    finetune_seconds: float | None

    @property
    def flags(self) -> list[str]:
        """Flags of the candidate, whatever the measure."""
        return [*self.facts.flags, *([flags.PARTLY_LOADED] if self.checkpoint.partly_loaded else [])]


@dataclass(frozen=True)
class Rows:
    """What a list is made of: evaluations with their checkpoints, recorded scores, and the published flags."""

    evaluations: Sequence[tuple[Evaluation, Checkpoint]]
    scores: Mapping[str, Scores]  # evaluation id -> measure -> score
    flags: Flags

    @property
    def are_open(self) -> bool:
        """Whether an evaluation is not over yet."""
        return any(row.state in OPEN_STATES for row, _ in self.evaluations)

    def comparable(self, ranking: Ranking) -> list[tuple[Evaluation, Checkpoint]]:
        """The evaluations that get places: partly loaded candidates do only where the ranking mixes them in."""
        mixed = ranking.partly_loaded == MIXED
        return [(row, one) for row, one in self.evaluations if mixed or not one.partly_loaded]


@dataclass(frozen=True)
class RankedList:
    """Candidates in order, what follows from the ledger for them, and the published flags."""

    ranking: Ranking
    candidates: list[Candidate]
    fusion: Fusion
    flags: Flags


def rows_of(session: Session, ranking: Ranking, *, records: bool = False) -> Rows:
    """The rows of a ranking; the scores' long records are loaded with `records` only."""
    # Evaluations before scores: one that is done has all its scores, also where each query sees its own moment.
    rows = rankings.candidates_of(session, ranking.id)
    stored = rankings.scores_by_evaluation(session, ranking.id, records=records)
    scores = {row.id: {score.measure: score for score in stored.get(row.id, [])} for row, _ in rows}
    return Rows(rows, scores, flags.flags(session))


def rank(
    session: Session,
    ranking: Ranking,
    *,
    records: bool = False,
    rows: Rows | None = None,
    group: str | None = None,
) -> RankedList:
    """The ranked list, best first, derived from the ledger as it is now; see `revisions.derive` for `group`."""
    rows = rows or rows_of(session, ranking, records=records)
    comparable = rows.comparable(ranking)
    done = {one.name: rows.scores[row.id] for row, one in comparable if row.state == WorkState.DONE}
    fused = fusion(session, ranking, done, rows.flags, group=group or ranking.comparison_group)
    derived = {name: {score.measure: score for score in fused.scores(name)} for name in done}
    scores = {row.id: {**rows.scores[row.id], **derived.get(one.name, {})} for row, one in rows.evaluations}
    places = Places(ranking.order_by, comparable, scores, rows.flags)
    candidates = [
        candidate_of(
            row,
            checkpoint,
            scores[row.id],
            places,
            position=places.ordering.get(row.id),
            outcome=fused.outcomes.get(checkpoint.name),
            ranking=ranking,
            published=rows.flags,
        )
        for row, checkpoint in rows.evaluations
    ]
    return RankedList(ranking, in_order(candidates), fused, rows.flags)


def candidate_of(
    row: Evaluation,
    checkpoint: Checkpoint,
    scores: Scores,
    places: Places,
    *,
    position: int | None,
    outcome: float | None,
    ranking: Ranking,
    published: Flags,
) -> Candidate:
    """One row of the list, at this position."""
    facts = published.about(ranking.measures, row.facts or EvaluationFacts())
    return Candidate(
        position=position,
        evaluation=row,
        checkpoint=checkpoint,
        facts=facts,
        scores=scores,
        positions={measure: place[row.id] for measure, place in places.by_measure.items() if row.id in place},
        score_flags={
            measure: [*score.flags, *(published.of_spread if row.id in places.unstable.get(measure, ()) else ())]
            for measure, score in scores.items()
        },
        outcome=outcome,
        finetune_seconds=finetune_seconds(facts, ranking.finetune_protocol),
    )


class Places:
    """Evaluation id -> place: by each measure alone, and in the list."""

    def __init__(
        self,
        order_by: str,
        rows: Sequence[tuple[Evaluation, Checkpoint]],
        scores: Mapping[str, Scores],
        published: Flags,
    ) -> None:
        started = {row.id: scores[row.id] for row, _ in rows if row.state in (WorkState.RUNNING, WorkState.DONE)}
        measures = {measure for of_candidate in started.values() for measure in of_candidate}
        self.by_measure = {measure: _places_by(measure, started, published) for measure in measures}
        self.unstable = {measure: _within_spread(measure, started, published) for measure in measures}
        done = {row.id: scores[row.id] for row, _ in rows if row.state == WorkState.DONE}
        self.ordering = _places_by(order_by, done, published)


def _places_by(measure: str, scores: Mapping[str, Scores], published: Flags) -> dict[str, int]:
    return places_of({key: value for key, (value, _) in _sound(measure, scores, published).items()})


def _sound(measure: str, scores: Mapping[str, Scores], published: Flags) -> dict[str, tuple[float, float | None]]:
    """Key -> value and spread of the scores that can place a candidate."""
    by_evaluation = {key: of_candidate.get(measure) for key, of_candidate in scores.items()}
    return {
        key: (score.value, score.spread)
        for key, score in by_evaluation.items()
        if score is not None and score.value is not None and published.is_sound(score)
    }


def _within_spread(measure: str, scores: Mapping[str, Scores], published: Flags) -> set[str]:
    """Keys of the scores that are nearer to the next one, above or below, than the larger spread of the two."""
    ordered = sorted(_sound(measure, scores, published).items(), key=lambda item: item[1][0])
    near: set[str] = set()
    for (key, (value, spread)), (other, (above, other_spread)) in pairwise(ordered):
        if max(spread or 0.0, other_spread or 0.0) > above - value:
            near |= {key, other}
    return near


def places_of(values: Mapping[str, float]) -> dict[str, int]:
    """Key -> place, 1 for the highest value; equal values share the better place."""
    ordered = sorted(values.values(), reverse=True)
    return {key: ordered.index(value) + 1 for key, value in values.items()}


def in_order(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Placed candidates, those without a sound score, open ones, failed ones; partly loaded ones last of each."""
    return sorted(candidates, key=_group_and_place)


def _group_and_place(candidate: Candidate) -> tuple[int, int, bool, str]:
    checkpoint = candidate.checkpoint
    if candidate.position is not None:
        return (0, candidate.position, False, checkpoint.name)
    groups = {WorkState.DONE: 1, WorkState.RUNNING: 2, WorkState.QUEUED: 3}
    return (groups.get(WorkState(candidate.evaluation.state), 4), 0, checkpoint.partly_loaded, checkpoint.name)


def finetune_seconds(facts: EvaluationFacts, finetune: FinetuneProtocol) -> float | None:
    """Seconds of all epochs of a finetune, by the one epoch that was measured, which may have had fewer steps."""
    if facts.finetune_epoch_seconds is None:
        return None
    whole = facts.epoch_steps or 0
    steps = min(whole, finetune.steps or whole)
    longer = steps / facts.steps if steps and facts.steps else 1.0
    return float(finetune.epochs * facts.finetune_epoch_seconds * longer)
