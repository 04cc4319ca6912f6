"""/datasets/{id} for people."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from service.datasets import service
from service.dependencies import PathReference
from service.store.session import reading
from service.web.render import page

router = APIRouter(include_in_schema=False)


@router.get("/datasets/{reference}")
def show_dataset(request: Request, reference: PathReference) -> Response:
    """What the inspection found."""
    with reading() as session:
        dataset = service.find(session, reference)
    return page(request, "dataset.html", dataset=dataset, running=dataset.state in ("queued", "running"))
