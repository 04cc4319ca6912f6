"""Requesting, reading, listing and canceling rankings."""

from __future__ import annotations

from collections import Counter

from service.api import references as requested
from service.api.capabilities.published import protocol_of, published, usual
from service.api.errors import ConflictError, InvalidError, NotFoundError
from service.api.names import NamedOut
from service.api.paging import Page
from service.api.rankings.answer import NOT_YET, answer_of, notes_on_order, track_record_of
from service.api.rankings.cost import cost_of, epochs_of
from service.api.rankings.ranked_list import candidate_in_list, flags_of, notes_of
from service.api.rankings.schemas import CostOut, RankingOut, RankingRequest, RankingSummary
from service.jobs import requests
from service.ledger.fusion import DERIVED, trust_of
from service.ledger.ranked_list import rank
from service.ledger.statistics.fused import FUSED
from service.store import checkpoints, datasets, finetune_runs, rankings
from service.store.session import Session
from service.store.tables import ENDED_STATES, OPEN_STATES, Checkpoint, Dataset, Ranking

_USUAL = "knn"  # of the single measures, the one with the best record (docs/evidence.md)


def request_ranking(session: Session, request: RankingRequest) -> RankingOut:
    """Insert a ranking with one queued evaluation per candidate."""
    ranking, _, candidates = _planned(session, request)
    requests.add_ranking(session, ranking, candidates)
    return ranked(session, ranking.id)


def cost(session: Session, request: RankingRequest) -> CostOut:
    """What this request would take; nothing is inserted."""
    return cost_of(session, *_planned(session, request))


def _planned(session: Session, request: RankingRequest) -> tuple[Ranking, Dataset, list[Checkpoint]]:
    """The ranking that a valid request asks for, not inserted, its dataset and its candidates."""
    dataset = requested.target(session, request.dataset)
    measures = _measures(session, request, dataset)
    dims = dataset.spatial_dims
    protocol = protocol_of(session, "ranking", request.protocol, dims=dims, field="protocol")
    ranking = Ranking(
        dataset_id=dataset.id,
        measures=measures,
        order_by=_ordering(session, request, measures),
        protocol=protocol,
        finetune_top=request.finetune_top,
        finetune_method=usual(session, "method"),
        finetune_protocol=protocol_of(
            session, "finetune", request.finetune, dims=dims, field="finetune", after=protocol
        ),
    )
    return ranking, dataset, _candidates(session, request, dataset)


def _measures(session: Session, request: RankingRequest, dataset: Dataset) -> list[str]:
    known = published(session, "measure")
    fitting = [name for name, body in known.items() if dataset.task in body["tasks"]]
    usual = [name for name in fitting if not known[name].get("optional", False)]
    asked = usual if request.measures is None else list(dict.fromkeys(request.measures))
    for number, name in enumerate(asked):
        if name not in fitting:
            why = f"does not apply to {dataset.task}" if name in known else "does not exist"
            raise InvalidError(
                f"measure {name!r} {why}",
                field=f"measures.{number}",
                remedy=f"use some of: {', '.join(fitting)}",
            )
    return asked


def _ordering(session: Session, request: RankingRequest, measures: list[str]) -> str:
    if request.order_by is None:
        trust = trust_of(session)
        best_single = [_USUAL] if _USUAL in measures else measures[:1]
        return FUSED if any(trust.get(name) for name in measures) else best_single[0]
    known = [*DERIVED, *measures]
    if request.order_by not in known:
        raise InvalidError(
            f"the list can't be ordered by {request.order_by!r}, which is not among its measures",
            field="order_by",
            remedy=f"order by one of {', '.join(known)}, or add it to the measures",
        )
    return request.order_by


def _candidates(session: Session, request: RankingRequest, dataset: Dataset) -> list[Checkpoint]:
    found: dict[str, Checkpoint] = {}
    for number, reference in enumerate(request.candidates):
        row = requested.candidate(session, reference, field=f"candidates.{number}")
        if row.id in found:
            raise InvalidError(
                f"candidate {row.name!r} is listed twice",
                field=f"candidates.{number}",
                remedy="list each candidate once, by id or by name",
            )
        found[row.id] = row
    if request.filter is not None:
        matching = checkpoints.matching(session, request.filter.model_dump(exclude_none=True))
        fitting = [row for row in matching if row.parameters["spatial_dims"] == dataset.spatial_dims]
        found |= {row.id: row for row in fitting}
    if not found:
        raise InvalidError(
            "there is no candidate to rank",
            field="candidates" if request.filter is None else "filter",
            remedy="list checkpoints in `candidates`, or give a `filter` that usable ones match",
        )
    return list(found.values())


def ranked(session: Session, ranking_id: str, *, records: bool = False) -> RankingOut:
    """A ranking with its list; on demand with what each score was computed from, which is long."""
    ranking = _found(session, ranking_id)
    found = rank(session, ranking, records=records)
    candidates = [
        candidate_in_list(
            row,
            finetune=ranking.finetune_protocol,
            records=records,
            outcome=found.fusion.outcomes.get(row.checkpoint.name),
        )
        for row in found.candidates
    ]
    counts = Counter(row.state for row in candidates)
    over = rankings.state_of(counts) in ENDED_STATES
    first = next((row for row in candidates if row.position is not None), None)
    epochs = epochs_of(session, ranking.measures, ranking.protocol)
    track_record = track_record_of(found.fusion, ranking.measures) if over else NOT_YET
    return RankingOut(
        **dict(_summary(session, ranking, counts)),
        epochs_per_candidate=epochs.all if epochs else None,
        protocol=ranking.protocol,
        finetune_protocol=ranking.finetune_protocol,
        flags=flags_of(candidates),
        notes=[
            *notes_on_order(found.fusion, track_record, ranking.order_by),
            *notes_of(candidates, order_by=ranking.order_by),
        ],
        answer=answer_of(found.fusion, candidates),
        track_record=track_record,
        finetune_seconds=first.finetune_seconds if first else None,
        finetune_runs=[run.id for run in finetune_runs.of_ranking(session, ranking.id)],
        ranked=candidates,
    )


def _found(session: Session, ranking_id: str) -> Ranking:
    ranking = rankings.find(session, ranking_id)
    if ranking is None:
        raise NotFoundError(f"there is no ranking {ranking_id!r}", field="ranking", remedy="see GET /v1/rankings")
    return ranking


def _summary(session: Session, ranking: Ranking, counts: dict[str, int]) -> RankingSummary:
    return RankingSummary(
        id=ranking.id,
        dataset=NamedOut.model_validate(datasets.find(session, ranking.dataset_id)),
        state=rankings.state_of(counts),
        counts=counts,
        order_by=ranking.order_by,
        measures=ranking.measures,
        finetune_top=ranking.finetune_top,
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
    rows = rankings.listed(session, after=after, limit=limit + 1, dataset_id=dataset_id, state=state)
    counts = rankings.states(session, [row.id for row in rows])
    shown = [_summary(session, row, counts[row.id]) for row in rows[:limit]]
    return Page(items=shown, next=shown[-1].id if len(rows) > limit else None)


def cancel(session: Session, ranking_id: str) -> RankingOut:
    """Cancel what is not over yet, its finetune runs too."""
    ranking = _found(session, ranking_id)
    counts = rankings.states(session, [ranking.id])[ranking.id]
    runs = finetune_runs.of_ranking(session, ranking.id)
    if not any(counts.get(state) for state in OPEN_STATES) and all(run.state not in OPEN_STATES for run in runs):
        raise ConflictError(
            f"ranking {ranking_id} is over", field="ranking", remedy="nothing is left to cancel; read it"
        )
    requests.cancel_ranking(session, ranking)
    session.expire_all()
    return ranked(session, ranking_id)
