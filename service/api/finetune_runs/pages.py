"""/finetune-runs/{id} for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastapi import APIRouter, Request, Response

from service.api.finetune_runs import service
from service.api.finetune_runs.schemas import FinetuneOut
from service.api.names import PathReference
from service.api.outcomes import service as outcomes
from service.api.outcomes.schemas import OutcomeOut
from service.api.web.render import page
from service.store.session import reading
from service.store.tables import OPEN_STATES

router = APIRouter(include_in_schema=False)
MOST_METRICS = 100  # of a run that are shown


@dataclass(frozen=True)
class FinetuneRunPage:
    """A finetune run: its progress, then its metrics and its network."""

    template: ClassVar[str] = "finetune_runs/finetune_run.html"
    run: FinetuneOut
    running: bool
    outcomes: list[OutcomeOut]


@router.get("/finetune-runs/{run_id}")
def show_finetune_run(request: Request, run_id: PathReference) -> Response:
    """One finetune run."""
    with reading() as session:
        run = service.find(session, run_id)
        recorded = outcomes.listed(session, after=None, limit=MOST_METRICS, finetune_run_id=run.id)
    return page(request, FinetuneRunPage(run, running=run.state in OPEN_STATES, outcomes=recorded.items))
