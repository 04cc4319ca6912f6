"""What a request's body refers to, files and rows; or a problem that names the field."""

from __future__ import annotations

from pathlib import Path

from service.api.errors import ConflictError, InvalidError
from service.settings import local_path
from service.store import checkpoints, datasets
from service.store.session import Session
from service.store.tables import Checkpoint, Dataset, WorkState


def file(uri: str) -> Path:
    """The file that the field `uri` names, which need not be there yet."""
    try:
        return local_path(uri)
    except ValueError as error:
        raise InvalidError(
            str(error), field="uri", remedy="give an absolute path inside ZOORANK_ROOTS or the data folder"
        ) from None


def target(session: Session, reference: str) -> Dataset:
    """The dataset that the field `dataset` names, unless its inspection failed."""
    row = datasets.find(session, reference)
    if row is None:
        raise InvalidError(
            f"there is no dataset {reference!r}",
            field="dataset",
            remedy="register it with POST /v1/datasets, or use an id or name from GET /v1/datasets",
        )
    if row.state in (WorkState.FAILED, WorkState.CANCELED):
        raise ConflictError(
            f"dataset {row.name} can't be used: {row.reason}",
            field="dataset",
            remedy=f"mend the file, then POST /v1/datasets/{row.id}/retry",
        )
    return row


def candidate(session: Session, reference: str, *, field: str) -> Checkpoint:
    """The checkpoint that this field names."""
    row = checkpoints.find(session, reference)
    if row is None:
        raise InvalidError(
            f"there is no checkpoint {reference!r}",
            field=field,
            remedy="register it with POST /v1/checkpoints, or use an id or name from GET /v1/checkpoints",
        )
    return row


def usable_candidate(session: Session, reference: str) -> Checkpoint:
    """The checkpoint that the field `checkpoint` names, unless its preflight failed."""
    row = candidate(session, reference, field="checkpoint")
    if row.state in (WorkState.FAILED, WorkState.CANCELED):
        raise ConflictError(
            f"checkpoint {row.name} can't be used: {row.reason}",
            field="checkpoint",
            remedy=f"mend the file, then POST /v1/checkpoints/{row.id}/retry",
        )
    return row
