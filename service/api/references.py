"""What a request's body refers to, files and rows; or a problem that names the field."""

from __future__ import annotations

from pathlib import Path

from service.api.errors import ConflictError, InvalidError
from service.settings import local_path, settings
from service.store import capabilities, checkpoints, datasets, outcomes
from service.store.published import READERS
from service.store.session import Session
from service.store.tables import Checkpoint, Dataset, WorkState


def file(uri: str, *, field: str = "uri") -> Path:
    """The file that this field names; InvalidError where it is seen that there is none.

    The service may run on another machine than its workers: where it has no such root folder, the worker looks.
    """
    try:
        path = local_path(uri)
        found = path.is_file() or not _is_visible(path)
    except ValueError as error:
        raise InvalidError(
            str(error), field=field, remedy="give an absolute path inside ZOORANK_ROOTS or the data folder"
        ) from None
    except OSError as error:
        raise InvalidError(
            f"{uri!r} can't be looked at: {error.strerror}", field=field, remedy="give the path of a file"
        ) from None
    if not found:
        what = "is no file" if path.exists() else "does not exist"
        raise InvalidError(f"{uri!r} {what}", field=field, remedy="give the path of the file itself")
    return path


def _is_visible(path: Path) -> bool:
    """Whether the root folder of this path is on this machine."""
    return any(root.is_dir() for root in settings().allowed_roots if path.is_relative_to(root))


def dataset_file(session: Session, uri: str) -> Path:
    """The file that the field `uri` names, with an ending that a published reader reads."""
    path = file(uri)
    endings = [ending for reader in capabilities.of_kind(session, READERS).values() for ending in reader.endings]
    if endings and not path.name.endswith(tuple(endings)):
        raise InvalidError(
            f"no reader reads {path.name!r}",
            field="uri",
            remedy=f"give a file that ends with one of: {', '.join(endings)} (see GET /v1/readers)",
        )
    return path


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


def comparison_group(session: Session, group: str | None, *, field: str) -> str | None:
    """The comparison group that this field names, which some outcome must be of."""
    if group is not None and not outcomes.has_group(session, group):
        raise InvalidError(
            f"there is no outcome of the comparison group {group!r}",
            field=field,
            remedy="give the id of a group that GET /v1/agreement lists with its targets",
        )
    return group


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
