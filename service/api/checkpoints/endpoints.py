"""/v1/checkpoints."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from service.api.checkpoints import changes, service
from service.api.checkpoints.schemas import CheckpointChange, CheckpointOut, CheckpointRequest
from service.api.errors import CHANGE_PROBLEMS, FIND_PROBLEMS, READ_PROBLEMS, WRITE_PROBLEMS
from service.api.idempotency import Repeatable, StrictBody
from service.api.names import PathReference
from service.api.paging import After, Limit, Page
from service.store.session import reading, transaction
from service.store.tables import WorkState

router = APIRouter(prefix="/v1/checkpoints", tags=["checkpoints"])


@router.post("", status_code=201, response_model=CheckpointOut, responses=WRITE_PROBLEMS)
def register_checkpoint(request: CheckpointRequest, once: Repeatable) -> Response:
    """Add a checkpoint to the zoo. A worker checks that it loads; rankings wait for that."""
    return once.answer(201, lambda session: service.register(session, request), location="/v1/checkpoints/{id}")


@router.get("", responses=READ_PROBLEMS)
def list_checkpoints(
    after: After = None,
    limit: Limit = 50,
    architecture: Annotated[
        str | None, Query(pattern=r"^[^\x00]*$", description="Only checkpoints of this architecture.")
    ] = None,
    state: Annotated[WorkState | None, Query(description="Only checkpoints in this state.")] = None,
) -> Page[CheckpointOut]:
    """The checkpoints of the zoo, newest first."""
    with reading() as session:
        return service.listed(session, after=after, limit=limit, architecture=architecture, state=state)


@router.get("/{reference}", responses=FIND_PROBLEMS)
def read_checkpoint(reference: PathReference) -> CheckpointOut:
    """A checkpoint by id or name, with its preflight."""
    with reading() as session:
        return service.find(session, reference)


@router.patch("/{reference}", responses=CHANGE_PROBLEMS)
def change_checkpoint(reference: PathReference, request: CheckpointChange, _body: StrictBody) -> CheckpointOut:
    """Correct a checkpoint: descriptions at any time, what decides results only while there are none."""
    with transaction() as session:
        return changes.change(session, reference, request)


@router.delete("/{reference}", status_code=204, responses=CHANGE_PROBLEMS)
def remove_checkpoint(reference: PathReference) -> None:
    """Remove a checkpoint that no ranking and no finetune run names. Its file and the ledger's rows stay."""
    with transaction() as session:
        changes.remove(session, reference)


@router.post("/{reference}/retry", status_code=202, response_model=CheckpointOut, responses=CHANGE_PROBLEMS)
def retry_checkpoint(reference: PathReference, once: Repeatable) -> Response:
    """Load a failed checkpoint again, for instance when its file has been mended."""
    return once.answer(202, lambda session: changes.retry(session, reference), location="/v1/checkpoints/{id}")
