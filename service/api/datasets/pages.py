"""/datasets/{id} for people."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from service.api.datasets import service
from service.api.names import PathReference
from service.api.web.render import page
from service.store.session import reading
from service.store.tables import OPEN_STATES

router = APIRouter(include_in_schema=False)


@router.get("/datasets/{reference}")
def show_dataset(request: Request, reference: PathReference) -> Response:
    """What the inspection found."""
    with reading() as session:
        dataset = service.find(session, reference)
    return page(request, "dataset.html", dataset=dataset, running=dataset.state in OPEN_STATES)
