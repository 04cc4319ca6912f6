"""Templates to answers."""

from __future__ import annotations

from pathlib import Path

from fastapi import Request, Response
from fastapi.templating import Jinja2Templates

from service.errors import Problem

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
_templates = Jinja2Templates(directory=_HERE / "templates")


def page(request: Request, template: str, **context: object) -> Response:
    """A template, filled."""
    return _templates.TemplateResponse(request, template, context)


def error_page(request: Request, problem: Problem) -> Response:
    """A problem, for people."""
    return _templates.TemplateResponse(request, "error.html", {"problem": problem}, status_code=problem.status)
