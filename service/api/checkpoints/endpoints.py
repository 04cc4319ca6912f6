"""/v1/checkpoints."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from service.api.checkpoints import service
from service.api.checkpoints.schemas import CheckpointOut, CheckpointRequest
from service.api.errors import FIND_PROBLEMS, READ_PROBLEMS, WRITE_PROBLEMS
from service.api.idempotency import Repeatable
from service.api.names import PathReference
from service.api.paging import After, Limit, Page
from service.store.session import reading
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
