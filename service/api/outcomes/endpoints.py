"""/v1/outcomes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from service.api.errors import READ_PROBLEMS, WRITE_PROBLEMS
from service.api.idempotency import Repeatable
from service.api.outcomes import service
from service.api.outcomes.schemas import ImportedOut, Kind, OutcomeOut, OutcomesImport, RemovedOut
from service.api.paging import After, Limit, Page
from service.store.session import reading, transaction

router = APIRouter(prefix="/v1/outcomes", tags=["outcomes"])
Part = Annotated[str | None, Query(pattern=r"^[^\x00]*$", max_length=500)]


@router.post("", response_model=ImportedOut, responses=WRITE_PROBLEMS)
def import_outcomes(request: OutcomesImport, once: Repeatable) -> Response:
    """Import outcomes and scores, all rows or none. A row that is there already gets the new value."""
    return once.answer(200, lambda session: service.import_rows(session, request))


@router.get("", responses=READ_PROBLEMS)
def list_outcomes(
    after: After = None,
    limit: Limit = 50,
    kind: Annotated[Kind | None, Query(description="outcome or score.")] = None,
    target: Annotated[Part, Query(description="A dataset's name.")] = None,
    candidate: Annotated[Part, Query(description="A checkpoint's name.")] = None,
    name: Annotated[Part, Query(description="A metric, or a measure.")] = None,
    source: Annotated[Part, Query(description="An import's source, or `finetune run`.")] = None,
) -> Page[OutcomeOut]:
    """The ledger, newest first: outcomes of own finetune runs, imported outcomes and scores."""
    filters = {"kind": kind, "target": target, "candidate": candidate, "name": name, "source": source}
    with reading() as session:
        return service.listed(session, after=after, limit=limit, **filters)


@router.delete("", responses=WRITE_PROBLEMS)
def remove_outcomes(
    source: Annotated[
        str, Query(min_length=1, max_length=500, pattern=r"^[^\x00]+$", description="Of the import.")
    ],
) -> RemovedOut:
    """Take back everything that was imported from one source."""
    with transaction() as session:
        return service.remove(session, source)
