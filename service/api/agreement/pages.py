"""/agreement for people."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from service.api.agreement import service
from service.api.agreement.endpoints import Part
from service.api.web.render import page
from service.ledger.records import Slice
from service.store.session import reading

router = APIRouter(include_in_schema=False)


@router.get("/agreement")
def show_agreement(
    request: Request,
    target: Part = None,
    task: Part = None,
    modality: Part = None,
    architecture: Part = None,
    zoo: Part = None,
) -> Response:
    """Every measure's track record, by slice."""
    chosen = Slice(*(value or None for value in (target, task, modality, architecture, zoo)))
    with reading() as session:
        every = service.targets(session)
        found = service.over(session, chosen, thorough=False, by_target=False)
    choices = {
        "task": sorted({row.task for row in every if row.task}),
        "modality": sorted({row.modality for row in every if row.modality}),
        "target": [row.name for row in every],
    }
    return page(request, "agreement.html", found=found, chosen=chosen, choices=choices, any_target=every)
