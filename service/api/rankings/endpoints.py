"""/v1/rankings."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from service.api.errors import CHANGE_PROBLEMS, FIND_PROBLEMS, READ_PROBLEMS, WRITE_PROBLEMS
from service.api.idempotency import Repeatable, StrictBody
from service.api.names import Part, PathReference
from service.api.paging import After, Limit, Page
from service.api.rankings import changes, revisions, service
from service.api.rankings.revision_schemas import AsOf, RevisionOut
from service.api.rankings.schemas import (
    CostOut,
    RankingChange,
    RankingOut,
    RankingRequest,
    RankingState,
    RankingSummary,
)
from service.store.session import reading, transaction

MOST_REVISIONS = 1_000_000_000
router = APIRouter(prefix="/v1/rankings", tags=["rankings"])


@router.post("", status_code=202, response_model=RankingOut, responses=WRITE_PROBLEMS)
def request_ranking(request: RankingRequest, once: Repeatable) -> Response:
    """Rank candidates for a dataset. The answer comes at once; the Location shows the progress and the list."""
    return once.answer_shown(
        202,
        lambda session: service.request_ranking(session, request),
        service.ranked,
        location="/v1/rankings/{id}",
    )


@router.post("/cost", responses=WRITE_PROBLEMS)
def estimate_cost(request: RankingRequest, _body: StrictBody) -> CostOut:
    """The cost of a ranking before it is requested. The body is validated as the request is; nothing is stored."""
    with reading() as session:
        return service.cost(session, request)


@router.get("", responses=READ_PROBLEMS)
def list_rankings(
    after: After = None,
    limit: Limit = 50,
    dataset: Annotated[
        str | None, Query(pattern=r"^[^\x00]*$", description="Only rankings for this dataset, by id or name.")
    ] = None,
    state: Annotated[RankingState | None, Query(description="Only rankings in this state.")] = None,
) -> Page[RankingSummary]:
    """The requested rankings, newest first."""
    with reading() as session:
        return service.listed(session, after=after, limit=limit, dataset=dataset, state=state)


@router.get("/{ranking_id}", responses=FIND_PROBLEMS)
def read_ranking(
    ranking_id: PathReference,
    records: Annotated[
        bool,
        Query(description="Whether to include the figures that each score was computed from, which are long."),
    ] = False,
    as_of: AsOf = None,
    first: Annotated[
        int, Query(ge=0, le=1_000_000, description="Number of rows of the list that are left out at its head.")
    ] = 0,
    limit: Annotated[
        int, Query(ge=0, le=1000, description="Largest number of rows of the list in this answer.")
    ] = service.ROWS,
    protocol: Annotated[
        Part,
        Query(
            description="Comparison group whose outcomes count on targets that have any, by its id; the list and "
            "the answer are then derived from the ledger as it is."
        ),
    ] = None,
) -> RankingOut:
    """The ranked list, best first, with every score; partial while it runs.

    Candidates whose ordering score is missing or flagged come after all others, and failed ones last. Once the
    ranking is over, order and answer are those of its newest stored revision, until a new one is stored.
    """
    with reading() as session:
        part = slice(first, first + limit)
        return service.ranked(session, ranking_id, records=records, as_of=as_of, protocol=protocol, part=part)


@router.patch("/{ranking_id}", responses=CHANGE_PROBLEMS)
def change_ranking(ranking_id: PathReference, request: RankingChange, _body: StrictBody) -> RankingOut:
    """Change the note of a ranking. What was requested stays; another request is another ranking."""
    with transaction() as session:
        changes.describe(session, ranking_id, request)
    with reading() as session:
        return service.ranked(session, ranking_id)


@router.post("/{ranking_id}/cancel", response_model=RankingOut, responses=CHANGE_PROBLEMS)
def cancel_ranking(ranking_id: PathReference, once: Repeatable) -> Response:
    """Cancel the open evaluations and finetune runs of a ranking; what is done stays."""
    return once.answer_shown(200, lambda session: service.cancel(session, ranking_id), service.ranked)


@router.delete("/{ranking_id}", status_code=204, responses=CHANGE_PROBLEMS)
def remove_ranking(
    ranking_id: PathReference,
    force: Annotated[
        bool,
        Query(description="Whether to remove it even where its scores count in the track record of measures."),
    ] = False,
) -> None:
    """Remove a ranking that is over, with its scores. Its finetune runs and their outcomes stay."""
    with transaction() as session:
        changes.remove(session, ranking_id, force=force)


@router.post("/{ranking_id}/retry", status_code=202, response_model=RankingOut, responses=CHANGE_PROBLEMS)
def retry_ranking(ranking_id: PathReference, once: Repeatable) -> Response:
    """Evaluate again what failed or was canceled. Candidates whose checkpoint failed itself have failed."""
    return once.answer_shown(
        202,
        lambda session: changes.retry(session, ranking_id),
        service.ranked,
        location="/v1/rankings/{id}",
    )


@router.get("/{ranking_id}/answers", responses=FIND_PROBLEMS)
def list_answers(
    ranking_id: PathReference,
    after: Annotated[
        int | None, Query(ge=1, le=MOST_REVISIONS, description="The `next` of the page before this one.")
    ] = None,
    limit: Limit = 50,
) -> Page[RevisionOut]:
    """The stored revisions of a ranking's answer, newest first: what each changed, and why it was stored."""
    with reading() as session:
        return service.answers(session, ranking_id, after=after, limit=limit)


@router.post("/{ranking_id}/answers", response_model=RevisionOut, responses=CHANGE_PROBLEMS)
def renew_answer(ranking_id: PathReference, once: Repeatable) -> Response:
    """Store what a ranking says by the ledger as it is now. Where that is the same, the newest revision stays."""
    repeated = once.repeated()
    if repeated is not None:
        return repeated
    with reading() as session:
        says = service.answer_now(session, ranking_id)
    return once.answer(200, lambda session: revisions.store(session, ranking_id, says))
