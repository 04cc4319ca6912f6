"""/v1/datasets."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from service.api.datasets import service
from service.api.datasets.schemas import DatasetChange, DatasetOut, DatasetRequest
from service.api.errors import CHANGE_PROBLEMS, FIND_PROBLEMS, READ_PROBLEMS, WRITE_PROBLEMS
from service.api.idempotency import Repeatable, StrictBody
from service.api.names import PathReference
from service.api.paging import After, Limit, Page
from service.store.session import reading, transaction

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


@router.patch("/{reference}", responses=CHANGE_PROBLEMS)
def change_dataset(reference: PathReference, request: DatasetChange, _body: StrictBody) -> DatasetOut:
    """Correct a dataset: modality and cohort at any time, the file only while there are no results."""
    with transaction() as session:
        return service.change(session, reference, request)


@router.delete("/{reference}", status_code=204, responses=CHANGE_PROBLEMS)
def remove_dataset(reference: PathReference) -> None:
    """Remove a dataset that no ranking and no finetune run names. Its file and the ledger's rows stay."""
    with transaction() as session:
        service.remove(session, reference)


@router.post("/{reference}/retry", status_code=202, response_model=DatasetOut, responses=CHANGE_PROBLEMS)
def retry_dataset(reference: PathReference, once: Repeatable) -> Response:
    """Inspect a failed dataset again, for instance when its file has been mended."""
    return once.answer(202, lambda session: service.retry(session, reference), location="/v1/datasets/{id}")
