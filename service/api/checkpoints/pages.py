"""/checkpoints/{id} for people."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from service.api.checkpoints import service
from service.api.names import PathReference
from service.api.web.render import page
from service.store.session import reading
from service.store.tables import OPEN_STATES

router = APIRouter(include_in_schema=False)


@router.get("/checkpoints/{reference}")
def show_checkpoint(request: Request, reference: PathReference) -> Response:
    """The card and the preflight."""
    with reading() as session:
        checkpoint = service.find(session, reference)
    running = checkpoint.state in OPEN_STATES
    return page(request, "checkpoint.html", checkpoint=checkpoint, running=running)
