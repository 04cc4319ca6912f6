"""Registering, finding and listing datasets."""

from __future__ import annotations

from service.api import references as requested
from service.api.capabilities.published import check_task
from service.api.datasets.schemas import DatasetChange, DatasetOut, DatasetRequest
from service.api.errors import ConflictError, NotFoundError
from service.api.names import name_from
from service.api.needed import refuse_other_outcomes, refuse_other_results, refuse_removal
from service.api.paging import Page, page_of
from service.jobs import removing, requests, retrying
from service.ledger.wording import listed as named
from service.store import datasets, dependents, outcomes
from service.store.session import Session
from service.store.tables import Dataset

_DECISIVE = frozenset({"uri", "task", "spatial_dims"})  # what the inspection depends on
_DESCRIBING = frozenset({"task", "modality", "cohort"})  # what answers learn of a target besides its outcomes


def register(session: Session, request: DatasetRequest) -> DatasetOut:
    """Insert a dataset; the worker inspects it."""
    path = requested.dataset_file(session, request.uri)
    check_task(session, request.task, field="task")
    name = request.name or name_from(path, otherwise="dataset")
    registered = datasets.find(session, name)
    if registered is not None:
        raise ConflictError(f"there is a dataset {name!r}", field="name", remedy=_remedy(registered, request))
    refuse_other_outcomes(session, Dataset, name, "name")
    row = Dataset(**{**request.model_dump(), "name": name})
    requests.add(session, row)
    outcomes.note_description(session, name)
    return DatasetOut.model_validate(row)


def _remedy(registered: Dataset, request: DatasetRequest) -> str:
    identity = (request.uri, request.task, request.spatial_dims)
    same = (registered.uri, registered.task, registered.spatial_dims) == identity
    if same:
        return f"use the existing one, {registered.id}; it was registered from this file for this task"
    return "choose another name"


def find(session: Session, reference: str) -> DatasetOut:
    """The dataset with this id or name."""
    return DatasetOut.model_validate(_found(session, reference))


def _found(session: Session, reference: str, *, lock: bool = False) -> Dataset:
    row = datasets.find(session, reference, lock=lock)
    if row is None:
        raise NotFoundError(f"there is no dataset {reference!r}", field="dataset", remedy="see GET /v1/datasets")
    return row


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


def change(session: Session, reference: str, request: DatasetChange) -> DatasetOut:
    """Change what is given. Another file, task or dimension is inspected anew, and refused where results exist."""
    row = _found(session, reference, lock=True)
    given = request.model_dump(exclude_unset=True)
    kept = {field for field in _DECISIVE if given.get(field) is None}
    changed = {field for field in given.keys() - kept if given[field] != getattr(row, field)}
    for field in sorted(changed & _DECISIVE):
        _check_change(session, row, field, given[field])
    for field in changed:
        setattr(row, field, given[field])
    if changed & _DECISIVE:
        retrying.read_again(session, row, why="it was changed")
    session.flush()
    if changed & _DESCRIBING:
        outcomes.note_description(session, row.name)
    return DatasetOut.model_validate(row)


def _check_change(session: Session, row: Dataset, field: str, value: str) -> None:
    if field == "uri":
        requested.dataset_file(session, value)
        refuse_other_results(session, row, field)
        return
    if field == "task":
        check_task(session, value, field=field)
    users = dependents.users_of(session, row)
    if users:
        raise ConflictError(
            f"{named(users)} asked for dataset {row.name} with its present {field}",
            field=field,
            remedy="register the file under another name, or delete these first",
        )
    refuse_other_outcomes(session, Dataset, row.name, field)


def remove(session: Session, reference: str) -> None:
    """Remove a dataset that nothing needs."""
    row = _found(session, reference, lock=True)
    refuse_removal(session, row)
    removing.remove(session, row)
    outcomes.note_description(session, row.name)


def retry(session: Session, reference: str) -> DatasetOut:
    """Inspect a dataset again whose inspection failed or was canceled."""
    row = _found(session, reference, lock=True)
    if row.state not in retrying.RETRIED_STATES:
        raise ConflictError(
            f"dataset {row.name} is {row.state}",
            field="dataset",
            remedy="only what has failed or was canceled can be retried",
        )
    retrying.read_again(session, row, why="it was retried")
    return DatasetOut.model_validate(row)
