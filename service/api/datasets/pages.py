"""/datasets/{id} for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastapi import APIRouter, Request, Response

from service.api.datasets import service
from service.api.datasets.schemas import DatasetOut
from service.api.names import PathReference
from service.api.web.render import page
from service.store.session import reading
from service.store.tables import OPEN_STATES

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class DatasetPage:
    """A dataset as registered, with what the inspection reported."""

    template: ClassVar[str] = "datasets/dataset.html"
    dataset: DatasetOut
    running: bool


@router.get("/datasets/{reference}")
def show_dataset(request: Request, reference: PathReference) -> Response:
    """One dataset."""
    with reading() as session:
        dataset = service.find(session, reference)
    return page(request, DatasetPage(dataset, running=dataset.state in OPEN_STATES))
