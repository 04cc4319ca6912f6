"""/v1/outcomes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from service.api.errors import READ_PROBLEMS, WRITE_PROBLEMS
from service.api.idempotency import Repeatable
from service.api.names import Part
from service.api.outcomes import service
from service.api.outcomes.schemas import ImportedOut, Kind, OutcomeOut, OutcomesImport, RemovedOut
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
) -> Page[OutcomeOut]:
    """The rows of the ledger, newest first: outcomes of own finetune runs, imported outcomes and scores."""
    filters = {"kind": kind, "target": target, "candidate": candidate, "name": name, "source": source}
    filters["comparison_group"] = comparison_group
    with reading() as session:
        return service.listed(session, after=after, limit=limit, **filters)


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
