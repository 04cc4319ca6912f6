"""The first page, and the page of all operations."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from service.api.checkpoints import service as checkpoints
from service.api.datasets import service as datasets
from service.api.finetune_runs import service as finetune_runs
from service.api.rankings import service as rankings
from service.api.web.render import page
from service.store import capabilities
from service.store.published import MEASURES
from service.store.session import reading
from service.store.tables import OPEN_STATES

router = APIRouter(include_in_schema=False)
_MOST = 50


@router.get("/")
def show_overview(request: Request) -> Response:
    """The newest rankings, the datasets, the zoo."""
    with reading() as session:
        newest = rankings.listed(session, after=None, limit=_MOST)
        found = {
            "datasets": datasets.listed(session, after=None, limit=_MOST),
            "checkpoints": checkpoints.listed(session, after=None, limit=_MOST),
            "runs": finetune_runs.listed(session, after=None, limit=_MOST),
        }
        worker_seen = bool(capabilities.of_kind(session, MEASURES))
    running = any(row.state in OPEN_STATES for row in newest.items)
    return page(request, "overview.html", rankings=newest, **found, worker_seen=worker_seen, running=running)


@router.get("/docs")
def show_operations(request: Request) -> Response:
    """Every operation, from the OpenAPI document; nothing is fetched from elsewhere."""
    return page(request, "docs.html", document=request.app.openapi())
