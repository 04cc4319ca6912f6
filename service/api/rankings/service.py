"""Requesting, reading, listing and canceling rankings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from service.api import references as requested
from service.api.capabilities.protocols import protocol_of
from service.api.capabilities.published import published, usual_method
from service.api.errors import ConflictError, InvalidError, NotFoundError
from service.api.fitting import check_fit, misfit
from service.api.names import NamedOut
from service.api.paging import Page
from service.api.rankings import revisions
from service.api.rankings.cost import cost_of, epochs_of
from service.api.rankings.revision_schemas import RevisionOut
from service.api.rankings.schemas import (
    CandidateOut,
    CostOut,
    RankedOut,
    RankingOut,
    RankingRequest,
    RankingSummary,
    ScoreOut,
)
from service.jobs import presence, requests
from service.jobs.answers import Derived, withheld
from service.ledger.fusion import DERIVED, trust_of
from service.ledger.ranked_list import Candidate, rows_of
from service.ledger.ranking_state import combinations_of, state_of
from service.ledger.statistics.combination import FUSED
from service.settings import settings
from service.store import capabilities, checkpoints, datasets, finetune_runs, rankings
from service.store.published import ARCHITECTURES, FINETUNE_PROTOCOLS, MEASURES, RANKING_PROTOCOLS
from service.store.session import Session
from service.store.tables import ENDED_STATES, OPEN_STATES, Checkpoint, Dataset, Ranking, Score, WorkState

ROWS = 200  # of a ranked list that are shown at once, unless more are asked for
FIRST_ROWS = slice(ROWS)


def request_ranking(session: Session, request: RankingRequest) -> str:
    """Insert a ranking with one queued evaluation per candidate; its id."""
    ranking, _, candidates = _planned(session, request)
    requests.add_ranking(session, ranking, candidates)
    return ranking.id


def cost(session: Session, request: RankingRequest) -> CostOut:
    """What this request would take; nothing is inserted."""
    return cost_of(session, *_planned(session, request))


def _planned(session: Session, request: RankingRequest) -> tuple[Ranking, Dataset, list[Checkpoint]]:
    """The ranking that a valid request asks for, not inserted, its dataset and its candidates."""
    dataset = requested.target(session, request.dataset)
    measures = _measures(session, request, dataset)
    dims = dataset.spatial_dims
    protocol = protocol_of(session, RANKING_PROTOCOLS, request.protocol, dims=dims, field="protocol")
    ranking = Ranking(
        dataset_id=dataset.id,
        measures=measures,
        order_by=_ordering(session, request, measures),
        protocol=protocol,
        finetune_top=request.finetune_top,
        partly_loaded=request.partly_loaded,
        comparison_group=requested.comparison_group(session, request.comparison_group, field="comparison_group"),
        tolerance=request.tolerance,
        risk=request.risk,
        note=request.note,
        finetune_method=usual_method(session),
        finetune_protocol=protocol_of(
            session, FINETUNE_PROTOCOLS, request.finetune, dims=dims, field="finetune", base=protocol
        ),
    )
    return ranking, dataset, _candidates(session, request, dataset)


def _measures(session: Session, request: RankingRequest, dataset: Dataset) -> list[str]:
    measures = published(session, MEASURES)
    fitting = [name for name, measure in measures.items() if dataset.task in measure.tasks]
    usual = [name for name in fitting if not measures[name].optional]
    asked = usual if request.measures is None else list(dict.fromkeys(request.measures))
    for number, name in enumerate(asked):
        if name not in fitting:
            why = f"does not apply to {dataset.task}" if name in measures else "does not exist"
            raise InvalidError(
                f"measure {name!r} {why}",
                field=f"measures.{number}",
                remedy=f"use some of: {', '.join(fitting)}",
            )
    return asked


def _ordering(session: Session, request: RankingRequest, measures: list[str]) -> str:
    if request.order_by is None:
        trust = trust_of(session)
        usual = [name for name, measure in published(session, MEASURES).items() if measure.usual]
        best_single = [name for name in usual if name in measures] or measures
        return FUSED if any(trust.get(name) for name in measures) else best_single[0]
    choices = [*DERIVED, *measures]
    if request.order_by not in choices:
        raise InvalidError(
            f"the list can't be ordered by {request.order_by!r}, which is not among its measures",
            field="order_by",
            remedy=f"order by one of {', '.join(choices)}, or add it to the measures",
        )
    return request.order_by


def _candidates(session: Session, request: RankingRequest, dataset: Dataset) -> list[Checkpoint]:
    architectures = capabilities.of_kind(session, ARCHITECTURES)
    by_id: dict[str, Checkpoint] = {}
    for number, reference in enumerate(request.candidates):
        row = requested.candidate(session, reference, field=f"candidates.{number}")
        if row.id in by_id:
            raise InvalidError(
                f"candidate {row.name!r} is listed twice",
                field=f"candidates.{number}",
                remedy="list each candidate once, by id or by name",
            )
        check_fit(dataset, row, architectures, field=f"candidates.{number}")
        by_id[row.id] = row
    if request.filter is not None:
        matching = checkpoints.matching(session, request.filter.model_dump(exclude_none=True))
        fitting = [row for row in matching if misfit(dataset, row, architectures) is None]
        by_id |= {row.id: row for row in fitting}
    if not by_id:
        raise InvalidError(
            "there is no candidate to rank",
            field="candidates" if request.filter is None else "filter",
            remedy="list checkpoints in `candidates`, or give a `filter` that usable ones match",
        )
    _refuse_too_many(len(by_id), field="candidates" if request.filter is None else "filter")
    return list(by_id.values())


def _refuse_too_many(candidates: int, *, field: str) -> None:
    most = settings().most_candidates
    if candidates > most:
        raise InvalidError(
            f"these are {candidates} candidates, and a ranking takes at most {most}",
            field=field,
            remedy="narrow the `filter`, rank in parts, or raise ZOORANK_MOST_CANDIDATES",
        )


def _is_over(session: Session, ranking: Ranking) -> bool:
    """Whether no evaluation of the ranking is open any more, and its answer is stored."""
    return _state(ranking, rankings.states(session, [ranking.id])[ranking.id]) in ENDED_STATES


def _state(ranking: Ranking, counts: Iterable[str]) -> WorkState:
    return state_of(counts, answer_due=ranking.answer_due_at is not None)


def ranked(
    session: Session,
    ranking_id: str,
    *,
    records: bool | None = False,
    as_of: str | None = None,
    protocol: str | None = None,
    part: slice = FIRST_ROWS,
) -> RankingOut:
    """A ranking with this part of its list; on demand with what each score was computed from, which is long.

    With None for `records` they are there once the ranking is over. The list and the answer are those of the
    revision `as_of`, or derived from outcomes of the comparison group `protocol`, see `revisions.shown`.
    """
    ranking = found(session, ranking_id)
    records = _is_over(session, ranking) if records is None else records
    rows = rows_of(session, ranking, records=records)
    group = requested.comparison_group(session, protocol, field="protocol")
    said, answer = revisions.shown(session, ranking, rows, as_of, group)
    first = next((row for row in said.candidates if row.position is not None), None)
    epochs = epochs_of(session, ranking.measures, ranking.protocol)
    counts = Counter(row.state for row, _ in rows.evaluations)
    over = _state(ranking, counts) in ENDED_STATES
    return RankingOut(
        **dict(_summary(session, ranking, counts)),
        epochs_per_candidate=epochs.all if epochs else None,
        protocol=ranking.protocol,
        finetune_protocol=ranking.finetune_protocol,
        flags=said.flags,
        waiting=None if over else presence.missing(presence.presence(session)),
        notes=[*said.content.notes, *withheld(session, ranking)],
        answer=answer,
        track_record=said.content.track_record,
        finetune_seconds=first.finetune_seconds if first else None,
        finetune_runs=[run.id for run in finetune_runs.of_ranking(session, ranking.id)],
        ranked=[_row(row, records=records) for row in said.candidates[part]],
    )


def _row(row: Candidate, *, records: bool) -> RankedOut:
    evaluation = row.evaluation
    return RankedOut(
        position=row.position,
        evaluation=evaluation.id,
        candidate=CandidateOut.model_validate(row.checkpoint),
        state=WorkState(evaluation.state),
        reason=evaluation.reason,
        stage=evaluation.stage,
        steps_done=evaluation.steps_done,
        steps_total=evaluation.steps_total,
        attempts=evaluation.attempts,
        scores={
            name: _score(score, row.positions.get(name), row.score_flags[name], records=records)
            for name, score in sorted(row.scores.items())
        },
        flags=row.flags,
        width=row.facts.width,
        seconds=row.facts.seconds,
        finetune_seconds=row.finetune_seconds,
        outcome=row.outcome,
        reused_from=evaluation.reused_from,
        facts=row.facts,
    )


def _score(score: Score, position: int | None, flags: list[str], *, records: bool) -> ScoreOut:
    return ScoreOut(
        value=score.value,
        spread=score.spread,
        position=position,
        flags=flags,
        seconds=score.seconds,
        reason=score.reason,
        record=dict(score.record.figures) if records else None,
    )


def answers(session: Session, ranking_id: str, *, after: int | None, limit: int) -> Page[RevisionOut]:
    """One page of the revisions of a ranking's answer, newest first."""
    return revisions.listed(session, found(session, ranking_id), after=after, limit=limit)


def answer_now(session: Session, ranking_id: str) -> Derived:
    """What a ranking that is over says by the ledger as it is now."""
    ranking = found(session, ranking_id)
    return revisions.derived(session, ranking, is_over=_is_over(session, ranking))


def found(session: Session, ranking_id: str) -> Ranking:
    """The row of the ranking with this id; NotFoundError when there is none."""
    ranking = rankings.find(session, ranking_id)
    if ranking is None:
        raise NotFoundError(f"there is no ranking {ranking_id!r}", field="ranking", remedy="see GET /v1/rankings")
    return ranking


def _summary(session: Session, ranking: Ranking, counts: dict[str, int]) -> RankingSummary:
    return RankingSummary(
        id=ranking.id,
        dataset=NamedOut.model_validate(datasets.find(session, ranking.dataset_id)),
        state=_state(ranking, counts),
        counts=counts,
        order_by=ranking.order_by,
        measures=ranking.measures,
        finetune_top=ranking.finetune_top,
        partly_loaded=ranking.partly_loaded,
        comparison_group=ranking.comparison_group,
        tolerance=ranking.tolerance,
        risk=ranking.risk,
        note=ranking.note,
        created_at=ranking.created_at,
    )


def listed(
    session: Session,
    *,
    after: str | None,
    limit: int,
    dataset: str | None = None,
    state: str | None = None,
) -> Page[RankingSummary]:
    """One page of rankings; `dataset` is an id or a name."""
    dataset_id = None
    if dataset is not None:
        row = datasets.find(session, dataset)
        dataset_id = row.id if row else "none"
    combinations = None
    if state is not None:
        combinations = {due: combinations_of(WorkState(state), answer_due=due) for due in (False, True)}
    rows = rankings.listed(session, after=after, limit=limit + 1, dataset_id=dataset_id, combinations=combinations)
    counts = rankings.states(session, [row.id for row in rows])
    shown = [_summary(session, row, counts[row.id]) for row in rows[:limit]]
    return Page(items=shown, next=shown[-1].id if len(rows) > limit else None)


def cancel(session: Session, ranking_id: str) -> str:
    """Cancel what is not over yet, its finetune runs too; the ranking's id."""
    ranking = found(session, ranking_id)
    counts = rankings.states(session, [ranking.id])[ranking.id]
    runs = finetune_runs.of_ranking(session, ranking.id)
    if _state(ranking, counts) in ENDED_STATES and all(run.state not in OPEN_STATES for run in runs):
        raise ConflictError(
            f"ranking {ranking_id} is over", field="ranking", remedy="nothing is left to cancel; read it"
        )
    requests.cancel_ranking(session, ranking)
    return ranking.id
