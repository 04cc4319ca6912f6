"""/healthz and /readyz."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from service.api.capabilities.published import published
from service.api.errors import UnavailableError, problems
from service.api.system import room
from service.jobs import presence
from service.settings import settings
from service.store import migrate
from service.store.published import ARCHITECTURES, FLAGS, MEASURES, RANKING_PROTOCOLS, CapabilityKind
from service.store.session import reading

router = APIRouter(tags=["health"])
_NEEDED: tuple[CapabilityKind[Any], ...] = (MEASURES, ARCHITECTURES, RANKING_PROTOCOLS, FLAGS)


class Health(BaseModel):
    """The answer of a process that is up."""

    status: Literal["ok"] = Field("ok", description="Always ok; otherwise the answer is a problem document.")
    instance: str = Field(
        description="Name of this running service (`ZOORANK_INSTANCE`); empty where it has none."
    )


class Readiness(Health):
    """The answer of a service that takes requests, and what is wrong all the same.

    It is 503 only while this process can't take requests, so that a load balancer sends them to another one.
    Without a worker requests are taken and wait, so that is a warning.
    """

    workers: int = Field(description="Number of workers that are alive.")
    worker_last_seen_at: datetime | None = Field(description="When a worker was seen last; null before the first.")
    last_sweep_at: datetime | None = Field(
        description="When the last sweep for lost work began; null before the first."
    )
    warnings: list[str] = Field(description="What is wrong although requests are taken, each with a remedy.")


@router.get("/healthz")
async def check_health() -> Health:
    """The process is up and answers requests."""
    return Health(instance=settings().instance)


@router.get("/readyz", responses=problems(503))
def check_readiness() -> Readiness:
    """The database answers, its revision is this version's, and a worker has published what it can do."""
    with reading() as session:
        if reason := migrate.newer(session):
            raise UnavailableError(reason, field="database", remedy="install the newer version of zoorank")
        if not migrate.is_current(session):
            raise UnavailableError(
                "the database lacks migrations", field="database", remedy="run `zoorank db upgrade`"
            )
        for kind in _NEEDED:
            published(session, kind)
        there = presence.presence(session)
    warnings = (
        presence.missing(there),
        presence.overdue(there),
        room.lacking(settings().data_dir),
    )
    return Readiness(
        instance=settings().instance,
        workers=there.alive,
        worker_last_seen_at=_moment(there.last_seen),
        last_sweep_at=_moment(there.last_sweep),
        warnings=[warning for warning in warnings if warning],
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
