"""/v1/outcomes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from service.api.errors import CHANGE_PROBLEMS, READ_PROBLEMS, WRITE_PROBLEMS
from service.api.idempotency import Repeatable, StrictBody
from service.api.names import Part, PathReference
from service.api.outcomes import service
from service.api.outcomes.schemas import ExclusionChange, ImportedOut, Kind, OutcomeOut, OutcomesImport, RemovedOut
from service.api.paging import After, Limit, Page
from service.store.session import reading, transaction

router = APIRouter(prefix="/v1/outcomes", tags=["outcomes"])


@router.post("", response_model=ImportedOut, responses=WRITE_PROBLEMS)
def import_outcomes(request: OutcomesImport, once: Repeatable) -> Response:
    """Import outcomes and scores, all rows or none. A row that is stored already gets the new value."""
    return once.answer(200, lambda session: service.import_rows(session, request))


@router.get("", responses=READ_PROBLEMS)
def list_outcomes(
    after: After = None,
    limit: Limit = 50,
    kind: Annotated[Kind | None, Query(description="Only outcomes, or only scores.")] = None,
    target: Annotated[Part, Query(description="Only rows about the dataset of this name.")] = None,
    candidate: Annotated[Part, Query(description="Only rows about the checkpoint of this name.")] = None,
    name: Annotated[Part, Query(description="Only rows of this metric or measure.")] = None,
    source: Annotated[
        Part, Query(description="Only rows from this source; `finetune run` is the service's own.")
    ] = None,
    comparison_group: Annotated[Part, Query(description="Only rows of the comparison group of this id.")] = None,
    finetune_run: Annotated[Part, Query(description="Only outcomes of the finetune run of this id.")] = None,
    excluded: Annotated[
        bool | None, Query(description="Only rows that are excluded, or only those that are not.")
    ] = None,
) -> Page[OutcomeOut]:
    """The rows of the ledger, newest first: outcomes of own finetune runs, imported outcomes and scores."""
    filters = {"kind": kind, "target": target, "candidate": candidate, "name": name, "source": source}
    trained = {"comparison_group": comparison_group, "finetune_run_id": finetune_run}
    with reading() as session:
        return service.listed(session, after=after, limit=limit, **filters, **trained, excluded=excluded)


@router.patch("/{outcome_id}", responses=CHANGE_PROBLEMS)
def exclude_outcome(outcome_id: PathReference, change: ExclusionChange, _body: StrictBody) -> OutcomeOut:
    """Exclude an outcome, so that it counts nowhere, or include it again. All metrics of an own run go together.

    An excluded outcome stays in the list with the reason, and stays excluded when it is imported again.
    """
    with transaction() as session:
        return service.exclude(session, outcome_id, change)


@router.delete("", responses=WRITE_PROBLEMS)
def remove_outcomes(
    source: Annotated[
        str,
        Query(min_length=1, max_length=500, pattern=r"^[^\x00]+$", description="Source of the import to remove."),
    ],
) -> RemovedOut:
    """Remove every row that was imported from one source."""
    with transaction() as session:
        return service.remove(session, source)
