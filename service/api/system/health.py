"""/healthz and /readyz."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from service.api.capabilities.published import published
from service.api.errors import UnavailableError, problems
from service.settings import settings
from service.store import migrate
from service.store.published import ARCHITECTURES, FLAGS, MEASURES, RANKING_PROTOCOLS, CapabilityKind
from service.store.session import reading

router = APIRouter(tags=["health"])
_NEEDED: tuple[CapabilityKind[Any], ...] = (MEASURES, ARCHITECTURES, RANKING_PROTOCOLS, FLAGS)


class Health(BaseModel):
    """The answer of a service that is well."""

    status: Literal["ok"] = Field("ok", description="Always ok; otherwise the answer is a problem document.")
    instance: str = Field(
        description="Name of this running service (`ZOORANK_INSTANCE`); empty where it has none."
    )


@router.get("/healthz")
def check_health() -> Health:
    """The process is up and answers requests."""
    return Health(instance=settings().instance)


@router.get("/readyz", responses=problems(503))
def check_readiness() -> Health:
    """The database answers and is migrated, and a worker has published what it can do."""
    with reading() as session:
        if not migrate.is_current(session):
            raise UnavailableError(
                "the database lacks migrations", field="database", remedy="run `zoorank db upgrade`"
            )
        for kind in _NEEDED:
            published(session, kind)
    return Health(instance=settings().instance)
