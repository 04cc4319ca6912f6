"""/v1/finetune-runs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse

from service.api.errors import CHANGE_PROBLEMS, FIND_PROBLEMS, READ_PROBLEMS, WRITE_PROBLEMS, problems
from service.api.finetune_runs import service
from service.api.finetune_runs.schemas import FinetuneChange, FinetuneOut, FinetuneRequest
from service.api.idempotency import Repeatable, StrictBody
from service.api.names import ID_PATTERN, PathReference
from service.api.paging import After, Limit, Page
from service.store.session import reading, transaction
from service.store.tables import WorkState

router = APIRouter(prefix="/v1/finetune-runs", tags=["finetune runs"])
_BYTES = "application/octet-stream"


@router.post("", status_code=202, response_model=FinetuneOut, responses=WRITE_PROBLEMS)
def request_finetune_run(request: FinetuneRequest, once: Repeatable) -> Response:
    """Finetune any checkpoint on a dataset. The answer comes at once; the Location shows the progress."""
    return once.answer(
        202, lambda session: service.request_run(session, request), location="/v1/finetune-runs/{id}"
    )


@router.get("", responses=READ_PROBLEMS)
def list_finetune_runs(
    after: After = None,
    limit: Limit = 50,
    ranking: Annotated[
        str | None, Query(pattern=ID_PATTERN, description="Only runs that this ranking asked for.")
    ] = None,
    state: Annotated[WorkState | None, Query(description="Only runs in this state.")] = None,
) -> Page[FinetuneOut]:
    """The requested finetune runs, newest first."""
    with reading() as session:
        return service.listed(session, after=after, limit=limit, ranking=ranking, state=state)


@router.get("/{run_id}", responses=FIND_PROBLEMS)
def read_finetune_run(run_id: PathReference) -> FinetuneOut:
    """A finetune run, with its metrics when it is done."""
    with reading() as session:
        return service.find(session, run_id)


@router.get(
    "/{run_id}/network",
    response_class=FileResponse,
    responses={
        200: {"content": {_BYTES: {"schema": {"type": "string", "format": "binary"}}}},
        **FIND_PROBLEMS,
        **problems(409),
    },
)
def read_network(run_id: PathReference) -> FileResponse:
    """The finetuned network: plain weights of its architecture, as safetensors."""
    with reading() as session:
        path = service.network_file(session, run_id)
    return FileResponse(path, media_type=_BYTES, filename=path.name)


@router.patch("/{run_id}", responses=CHANGE_PROBLEMS)
def change_finetune_run(run_id: PathReference, request: FinetuneChange, _body: StrictBody) -> FinetuneOut:
    """Change the note of a finetune run. What was requested stays; another request is another run."""
    with transaction() as session:
        return service.describe(session, run_id, request)


@router.post("/{run_id}/cancel", response_model=FinetuneOut, responses=CHANGE_PROBLEMS)
def cancel_finetune_run(run_id: PathReference, once: Repeatable) -> Response:
    """Cancel a finetune run that has not ended."""
    return once.answer(200, lambda session: service.cancel(session, run_id))


@router.delete("/{run_id}", status_code=204, responses=CHANGE_PROBLEMS)
def remove_finetune_run(run_id: PathReference) -> None:
    """Remove a finetune run that is over, and its network's file. Its outcomes stay in the ledger."""
    with transaction() as session:
        service.remove(session, run_id)


@router.post("/{run_id}/retry", status_code=202, response_model=FinetuneOut, responses=CHANGE_PROBLEMS)
def retry_finetune_run(run_id: PathReference, once: Repeatable) -> Response:
    """Train again what failed or was canceled, by the same protocol."""
    return once.answer(202, lambda session: service.retry(session, run_id), location="/v1/finetune-runs/{id}")
