"""Templates to answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from fastapi import Request, Response
from fastapi.templating import Jinja2Templates
from markupsafe import Markup, escape

from service.api.errors import Problem

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
_templates = Jinja2Templates(directory=_HERE / "templates")


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)


def _when(value: datetime | None) -> str:
    return "" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _breakable(name: str) -> Markup:
    """A name that may break after each underscore."""
    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2)


_templates.env.filters |= {
    "number": _number,
    "when": _when,
    "duration": _duration,
    "pretty": _pretty,
    "breakable": _breakable,
}


def page(request: Request, template: str, **context: object) -> Response:
    """A template, filled."""
    return _templates.TemplateResponse(request, template, context)


def error_page(request: Request, problem: Problem) -> Response:
    """A problem, for people."""
    return _templates.TemplateResponse(request, "error.html", {"problem": problem}, status_code=problem.status)
