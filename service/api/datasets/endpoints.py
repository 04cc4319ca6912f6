"""/v1/datasets."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from service.api.datasets import service
from service.api.datasets.schemas import DatasetOut, DatasetRequest
from service.api.errors import FIND_PROBLEMS, READ_PROBLEMS, WRITE_PROBLEMS
from service.api.idempotency import Repeatable
from service.api.names import PathReference
from service.api.paging import After, Limit, Page
from service.store.session import reading

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])


@router.post("", status_code=201, response_model=DatasetOut, responses=WRITE_PROBLEMS)
def register_dataset(request: DatasetRequest, once: Repeatable) -> Response:
    """Register a target dataset. A worker inspects it; rankings may be requested at once and wait for it."""
    return once.answer(201, lambda session: service.register(session, request), location="/v1/datasets/{id}")


@router.get("", responses=READ_PROBLEMS)
def list_datasets(
    after: After = None,
    limit: Limit = 50,
    task: Annotated[
        str | None, Query(pattern=r"^[^\x00]*$", description="Only datasets for this target task.")
    ] = None,
    modality: Annotated[
        str | None, Query(pattern=r"^[^\x00]*$", description="Only datasets of this modality.")
    ] = None,
) -> Page[DatasetOut]:
    """The registered datasets, newest first."""
    with reading() as session:
        return service.listed(session, after=after, limit=limit, task=task, modality=modality)


@router.get("/{reference}", responses=FIND_PROBLEMS)
def read_dataset(reference: PathReference) -> DatasetOut:
    """A dataset by id or name, with what its inspection found."""
    with reading() as session:
        return service.find(session, reference)
