"""/finetune-runs/{id} for people."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from service.dependencies import PathReference
from service.finetune_runs import service
from service.store.session import reading
from service.web.render import page

router = APIRouter(include_in_schema=False)


@router.get("/finetune-runs/{run_id}")
def show_finetune_run(request: Request, run_id: PathReference) -> Response:
    """Progress, then metrics and the network."""
    with reading() as session:
        run = service.find(session, run_id)
    return page(request, "finetune_run.html", run=run, running=run.state in ("queued", "running"))
