"""Templates to answers: a page is a template filled with the fields of its context."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol

from fastapi import Request, Response
from fastapi.templating import Jinja2Templates
from markupsafe import Markup, escape

from service.api.errors import Problem
from service.api.web.charts.dots import correlation_dot
from service.api.web.entries import entries, is_record
from service.client import present

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
TEMPLATES = _HERE / "templates"
templates = Jinja2Templates(directory=TEMPLATES)


class PageContext(Protocol):
    """A frozen dataclass that names a template; its fields are all the variables that the template uses."""

    template: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


@dataclass(frozen=True)
class ErrorPage:
    """A problem for people."""

    template: ClassVar[str] = "system/error.html"
    problem: Problem


def _breakable(name: str) -> Markup:
    """A name that may break after each underscore."""
    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2)


_FORMATS = (
    present.correlation,
    present.counts,
    present.duration,
    present.finetune_estimate,
    present.interval,
    present.loaded,
    present.moment,
    present.number,
    present.score,
    present.seconds,
)
_FUNCTIONS = (
    present.counted,
    present.main_interval,
    present.revision,
    present.steps,
    present.track_record,
    correlation_dot,
    entries,
)
templates.env.filters |= {"breakable": _breakable, "pretty": _pretty}
templates.env.filters |= {function.__name__: function for function in _FORMATS}
templates.env.globals |= {function.__name__: function for function in _FUNCTIONS}
templates.env.globals["NO_HISTORY"] = present.NO_HISTORY
templates.env.tests["record"] = is_record


def page(request: Request, context: PageContext, *, status: int = 200) -> Response:
    """The context's template, filled with the context's fields."""
    variables = {field.name: getattr(context, field.name) for field in fields(context)}
    return templates.TemplateResponse(request, context.template, variables, status_code=status)


def error_page(request: Request, problem: Problem) -> Response:
    """A page that says what is wrong and what to do about it."""
    return page(request, ErrorPage(problem), status=problem.status)
