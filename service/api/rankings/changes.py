"""Describing and removing rankings, and retrying what failed in them."""

from __future__ import annotations

from service.api.errors import ConflictError
from service.api.rankings import service
from service.api.rankings.schemas import RankingChange
from service.jobs import removing, retrying
from service.ledger.wording import listed
from service.store import datasets, dependents, finetune_runs, rankings
from service.store.session import Session
from service.store.tables import OPEN_STATES, Ranking, WorkState


def describe(session: Session, ranking_id: str, request: RankingChange) -> None:
    """Give a ranking this note."""
    service.found(session, ranking_id).note = request.note


def remove(session: Session, ranking_id: str, *, force: bool) -> None:
    """Remove a ranking that is over, with its scores."""
    ranking = service.found(session, ranking_id)
    _refuse_open(session, ranking)
    scores = 0 if force else dependents.evidence_of(session, ranking)
    if scores:
        raise ConflictError(
            f"{scores} scores of ranking {ranking_id} count in the track record, since its dataset has outcomes",
            field="ranking",
            remedy="keep it, or add ?force=true, which takes these scores out of the track record",
        )
    removing.remove_ranking(session, ranking)


def _refuse_open(session: Session, ranking: Ranking) -> None:
    counts = rankings.lock(session, ranking)
    runs = [run.id for run in finetune_runs.of_ranking(session, ranking.id) if run.state in OPEN_STATES]
    if runs or any(counts.get(state) for state in OPEN_STATES):
        raise ConflictError(
            f"ranking {ranking.id} is not over" + (f": {listed(runs)} is open" if runs else ""),
            field="ranking",
            remedy=f"cancel it first: POST /v1/rankings/{ranking.id}/cancel",
        )


def retry(session: Session, ranking_id: str) -> str:
    """Evaluate the candidates again whose evaluation failed or was canceled; the ranking's id."""
    ranking = service.found(session, ranking_id)
    ended = retrying.ended_without_scores(session, ranking)
    if not ended:
        raise ConflictError(
            f"no evaluation of ranking {ranking_id} has failed or was canceled",
            field="ranking",
            remedy="nothing is left to retry; read it",
        )
    dataset = datasets.with_id(session, ranking.dataset_id)
    if dataset.state == WorkState.FAILED:
        _refuse_retry("dataset", dataset.name, dataset.reason)
    if all(checkpoint.state == WorkState.FAILED for _, checkpoint in ended):
        _refuse_retry("checkpoint", ended[0][1].name, ended[0][1].reason)
    retrying.retry_evaluations(session, ranking, ended)
    return ranking.id


def _refuse_retry(kind: str, name: str, reason: str | None) -> None:
    raise ConflictError(
        f"{kind} {name} has failed itself: {reason}",
        field="ranking",
        remedy=f"mend it, then POST /v1/{kind}s/{name}/retry, then retry the ranking",
    )
