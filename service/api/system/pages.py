"""The first page, and the page of all operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from fastapi import APIRouter, Request, Response

from service.api.checkpoints import service as checkpoints
from service.api.checkpoints.schemas import CheckpointOut
from service.api.datasets import service as datasets
from service.api.datasets.schemas import DatasetOut
from service.api.finetune_runs import service as finetune_runs
from service.api.finetune_runs.schemas import FinetuneOut
from service.api.paging import Page
from service.api.rankings import service as rankings
from service.api.rankings.schemas import RankingSummary
from service.api.web.render import page
from service.jobs import presence
from service.store import capabilities
from service.store.published import MEASURES
from service.store.session import reading
from service.store.tables import OPEN_STATES

router = APIRouter(include_in_schema=False)
_MOST = 50  # rows of each list


@dataclass(frozen=True)
class OverviewPage:
    """The newest rankings, datasets, checkpoints and finetune runs."""

    template: ClassVar[str] = "system/overview.html"
    rankings: Page[RankingSummary]
    datasets: Page[DatasetOut]
    checkpoints: Page[CheckpointOut]
    runs: Page[FinetuneOut]
    worker_seen: bool
    waiting: str | None
    running: bool


@dataclass(frozen=True)
class OperationsPage:
    """The OpenAPI document of the whole service."""

    template: ClassVar[str] = "system/docs.html"
    document: dict[str, Any]


@router.get("/")
def show_overview(request: Request) -> Response:
    """The lists of everything; it refreshes itself while a ranking runs."""
    with reading() as session:
        newest = rankings.listed(session, after=None, limit=_MOST)
        overview = OverviewPage(
            rankings=newest,
            datasets=datasets.listed(session, after=None, limit=_MOST),
            checkpoints=checkpoints.listed(session, after=None, limit=_MOST),
            runs=finetune_runs.listed(session, after=None, limit=_MOST),
            waiting=presence.missing(presence.presence(session)),
            worker_seen=bool(capabilities.of_kind(session, MEASURES)),
            running=any(row.state in OPEN_STATES for row in newest.items),
        )
    return page(request, overview)


@router.get("/docs")
def show_operations(request: Request) -> Response:
    """Every operation, from the OpenAPI document; nothing is fetched from elsewhere."""
    return page(request, OperationsPage(request.app.openapi()))
