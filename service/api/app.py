"""The application: every operation, every page, one form of error."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles

from service.api import problem_handlers
from service.api.agreement import endpoints as agreement
from service.api.agreement import pages as agreement_pages
from service.api.capabilities import endpoints as capabilities
from service.api.checkpoints import endpoints as checkpoints
from service.api.checkpoints import pages as checkpoint_pages
from service.api.datasets import endpoints as datasets
from service.api.datasets import pages as dataset_pages
from service.api.errors import Problem
from service.api.finetune_runs import endpoints as finetune_runs
from service.api.finetune_runs import pages as finetune_run_pages
from service.api.hosts import warn_if_open
from service.api.middleware import Edge
from service.api.outcomes import endpoints as outcomes
from service.api.rankings import endpoints as rankings
from service.api.rankings import pages as ranking_pages
from service.api.system import health
from service.api.system import pages as overview
from service.api.web.render import STATIC
from service.settings import settings

_EXAMPLES = Path(__file__).parent / "examples.json"  # schema name -> examples
_SUMMARY = "Which of our pretrained checkpoints will finetune best on this dataset, and how sure are we?"
_DESCRIPTION = """Register a dataset and checkpoints, request a ranking, read the ranked list.

Errors are `application/problem+json` documents (RFC 9457); their `errors` name the field and the remedy.
Every POST takes an `Idempotency-Key`: a repeat gets the first answer again and makes nothing twice.
"""

_OPERATIONS = (datasets, checkpoints, rankings, finetune_runs, outcomes, agreement, capabilities, health)
_PAGES = (overview, dataset_pages, checkpoint_pages, ranking_pages, finetune_run_pages, agreement_pages)


def create_app() -> FastAPI:
    """The application, for `uvicorn --factory service.api.app:create_app`."""
    app = FastAPI(
        title="ZooRank",
        summary=_SUMMARY,
        description=_DESCRIPTION,
        version=version("zoorank"),
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
    )
    for module in (*_OPERATIONS, *_PAGES):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    problem_handlers.install(app)
    app.add_middleware(Edge)
    warn_if_open(settings())
    _complete_document(app)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


def _complete_document(app: FastAPI) -> None:
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document["components"]["schemas"]
        if "Problem" not in schemas:
            problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= problem.pop("$defs")
            schemas["Problem"] = problem
            for name, examples in json.loads(_EXAMPLES.read_text(encoding="utf-8")).items():
                schemas[name]["examples"] = examples
        return document

    app.openapi = openapi  # type: ignore[method-assign]
