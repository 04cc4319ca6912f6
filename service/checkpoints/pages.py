"""/checkpoints/{id} for people."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from service.checkpoints import service
from service.dependencies import PathReference
from service.store.session import reading
from service.web.render import page

router = APIRouter(include_in_schema=False)


@router.get("/checkpoints/{reference}")
def show_checkpoint(request: Request, reference: PathReference) -> Response:
    """The card and the preflight."""
    with reading() as session:
        checkpoint = service.find(session, reference)
    running = checkpoint.state in ("queued", "running")
    return page(request, "checkpoint.html", checkpoint=checkpoint, running=running)
