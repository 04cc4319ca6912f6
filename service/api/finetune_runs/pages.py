"""/finetune-runs/{id} for people."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from service.api.finetune_runs import service
from service.api.names import PathReference
from service.api.web.render import page
from service.store.session import reading
from service.store.tables import OPEN_STATES

router = APIRouter(include_in_schema=False)


@router.get("/finetune-runs/{run_id}")
def show_finetune_run(request: Request, run_id: PathReference) -> Response:
    """Progress, then metrics and the network."""
    with reading() as session:
        run = service.find(session, run_id)
    return page(request, "finetune_run.html", run=run, running=run.state in OPEN_STATES)
