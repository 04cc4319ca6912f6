"""The edge where exceptions become problem documents, or error pages for a browser."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from service.api.errors import (
    MEDIA_TYPE,
    MOST_FAULTS,
    BrokenRequestError,
    ConflictError,
    Fault,
    InvalidError,
    Problem,
    ServiceError,
    UnavailableError,
)
from service.api.web.render import error_page
from service.store.session import DatabaseError, TakenError, is_missing_reference

_REMEDIES = {
    "missing": "add this field",
    "extra_forbidden": "remove this field, or correct its name (see /docs)",
    "json_invalid": "send valid JSON",
    "dict_type": "give a JSON object",
    "model_attributes_type": "send a JSON object with the header Content-Type: application/json",
}


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem document."""
    app.add_exception_handler(ServiceError, _on_service_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(TakenError, _on_taken)
    app.add_exception_handler(DatabaseError, _on_database)
    app.add_exception_handler(Exception, _on_defect)


def answer(request: Request, problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """The problem as JSON, or as a page when a browser asked for a page."""
    path = request.url.path
    if "text/html" in request.headers.get("accept", "") and not path.startswith("/v1/"):
        return error_page(request, problem)
    return JSONResponse(problem.model_dump(), problem.status, headers, media_type=MEDIA_TYPE)


def _on_service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)  # noqa: S101 - for the type checker
    return answer(request, error.problem(), dict(error.headers))


def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    wrong: Sequence[dict[str, Any]] = error.errors()
    faults = [_fault(details) for details in wrong[:MOST_FAULTS]]
    if len(wrong) > MOST_FAULTS:
        more = f"{len(wrong) - MOST_FAULTS} more fields are wrong"
        faults.append(Fault(field=None, message=more, remedy="correct these, then send it again"))
    broken = any(details["type"] == "json_invalid" for details in wrong)
    kind = BrokenRequestError if broken else InvalidError
    detail = "; ".join(f"{fault.field}: {fault.message}" if fault.field else fault.message for fault in faults)
    return answer(request, kind(detail, errors=faults).problem())


def _fault(details: dict[str, Any]) -> Fault:
    return Fault(field=_field(details["loc"]), message=details["msg"], remedy=_remedy(details))


def _field(loc: Sequence[str | int]) -> str | None:
    names = loc[1:] if loc and loc[0] in ("body", "query", "path", "header") else loc
    return ".".join(str(name) for name in names) or None


def _remedy(details: dict[str, Any]) -> str:
    expected = details.get("ctx", {}).get("expected")
    if expected:
        return f"use {expected}"
    return _REMEDIES.get(details["type"], "correct this value as the message says (see /docs)")


def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    phrase = HTTPStatus(error.status_code).phrase
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_allowed(request))
    remedy = {
        404: "see /docs for the operations there are",
        405: f"use {headers.get('Allow')}",
        400: "send a JSON body in UTF-8",
    }.get(error.status_code, "see /docs")
    detail = f"{request.method} {request.url.path}: {phrase}"
    problem = Problem(
        type="about:blank",
        title=phrase,
        status=error.status_code,
        detail=detail,
        errors=[Fault(field=None, message=detail, remedy=remedy)],
    )
    return answer(request, problem, headers)


def _allowed(request: Request) -> list[str]:
    document: dict[str, dict[str, object]] = request.app.openapi()["paths"]
    parts = request.url.path.split("/")
    methods = {
        method.upper()
        for path, operations in document.items()
        if _matches(path.split("/"), parts)
        for method in operations
    }
    return sorted(methods) or ["GET"]


def _matches(template: list[str], parts: list[str]) -> bool:
    return len(template) == len(parts) and all(
        name.startswith("{") or name == part for name, part in zip(template, parts, strict=True)
    )


def _on_taken(request: Request, error: Exception) -> Response:
    assert isinstance(error, TakenError)  # noqa: S101
    return answer(request, (_REMOVED if is_missing_reference(error) else _TAKEN).problem())


_REMOVED = ConflictError(
    "what this request refers to was removed at the same moment",
    remedy="look at what is there now, and send the request again with that",
)
_TAKEN = ConflictError(
    "another request took this name at the same moment",
    field="name",
    remedy="use what that request registered, or choose another name",
)


def _on_database(request: Request, error: Exception) -> Response:
    # Only the kind of error: the driver's words may quote the connection's address.
    unready = UnavailableError(
        f"the database did not answer ({type(error).__name__})",
        remedy="look at /readyz; start the database, or apply the migrations with `zoorank db upgrade`",
    )
    return answer(request, unready.problem())


def _on_defect(request: Request, _: Exception) -> Response:
    defect = ServiceError(
        "an unexpected error; its trace is in the service's log", remedy="report it with the log"
    )
    return answer(request, defect.problem())
