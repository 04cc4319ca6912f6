"""/v1/measures and the other things that the workers published that they can do."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from service.api.errors import READ_PROBLEMS
from service.store import capabilities
from service.store.session import reading

router = APIRouter(prefix="/v1", tags=["capabilities"])


class Published(BaseModel):
    """Name -> description of each; empty until a worker has started."""

    items: dict[str, dict[str, Any]] = Field(description="Name -> what the workers say of it.")


def _published(kind: str) -> Published:
    with reading() as session:
        return Published(items=capabilities.of_kind(session, kind))


@router.get("/measures", responses=READ_PROBLEMS)
def list_measures() -> Published:
    """The measures: title, source, and the tasks they apply to."""
    return _published("measure")


@router.get("/architectures", responses=READ_PROBLEMS)
def list_architectures() -> Published:
    """The architectures: summary, tasks, spatial dimensions, own parameters with defaults."""
    return _published("architecture")


@router.get("/methods", responses=READ_PROBLEMS)
def list_methods() -> Published:
    """The finetune methods."""
    return _published("method")


@router.get("/catalogue", responses=READ_PROBLEMS)
def list_catalogue() -> Published:
    """Cards of known public checkpoints, to register one's file of weights by name."""
    return _published("card")


@router.get("/protocols", responses=READ_PROBLEMS)
def list_protocols() -> Published:
    """The default protocols of rankings and finetune runs."""
    return _published("protocol")


@router.get("/readers", responses=READ_PROBLEMS)
def list_readers() -> Published:
    """The formats of datasets that can be read."""
    return _published("reader")
