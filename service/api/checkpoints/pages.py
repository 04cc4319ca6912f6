"""/checkpoints/{id} for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastapi import APIRouter, Request, Response

from service.api.checkpoints import service
from service.api.checkpoints.schemas import CheckpointOut
from service.api.names import PathReference
from service.api.web.render import page
from service.store.session import reading
from service.store.tables import OPEN_STATES

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class CheckpointPage:
    """A checkpoint's card and network, with what the preflight reported."""

    template: ClassVar[str] = "checkpoints/checkpoint.html"
    checkpoint: CheckpointOut
    running: bool


@router.get("/checkpoints/{reference}")
def show_checkpoint(request: Request, reference: PathReference) -> Response:
    """One checkpoint."""
    with reading() as session:
        checkpoint = service.find(session, reference)
    return page(request, CheckpointPage(checkpoint, running=checkpoint.state in OPEN_STATES))
