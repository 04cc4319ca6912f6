"""Registering, finding and listing datasets."""

from __future__ import annotations

from service.api import references as requested
from service.api.capabilities.published import check_task
from service.api.datasets.schemas import DatasetOut, DatasetRequest
from service.api.errors import ConflictError, NotFoundError
from service.api.names import name_from
from service.api.paging import Page, page_of
from service.jobs import requests
from service.store import datasets
from service.store.session import Session
from service.store.tables import Dataset


def register(session: Session, request: DatasetRequest) -> DatasetOut:
    """Insert a dataset; the worker inspects it."""
    path = requested.file(request.uri)
    check_task(session, request.task, field="task")
    name = request.name or name_from(path, otherwise="dataset")
    registered = datasets.find(session, name)
    if registered is not None:
        raise ConflictError(f"there is a dataset {name!r}", field="name", remedy=_remedy(registered, request))
    row = Dataset(**{**request.model_dump(), "name": name})
    requests.add(session, row)
    return DatasetOut.model_validate(row)


def _remedy(registered: Dataset, request: DatasetRequest) -> str:
    identity = (request.uri, request.task, request.spatial_dims)
    same = (registered.uri, registered.task, registered.spatial_dims) == identity
    if same:
        return f"use the existing one, {registered.id}; it was registered from this file for this task"
    return "choose another name"


def find(session: Session, reference: str) -> DatasetOut:
    """The dataset with this id or name."""
    row = datasets.find(session, reference)
    if row is None:
        raise NotFoundError(f"there is no dataset {reference!r}", field="dataset", remedy="see GET /v1/datasets")
    return DatasetOut.model_validate(row)


def listed(
    session: Session,
    *,
    after: str | None,
    limit: int,
    task: str | None = None,
    modality: str | None = None,
) -> Page[DatasetOut]:
    """One page of datasets."""
    if task is not None:
        check_task(session, task, field="task")
    rows = datasets.listed(session, after=after, limit=limit + 1, task=task, modality=modality)
    return page_of(rows, limit, DatasetOut.model_validate)
