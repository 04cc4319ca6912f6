"""One tree of errors, and the problem documents (RFC 9457) that they become.

ServiceError             500  the request can't be answered
+- BrokenRequestError    400  it can't be read
+- ForbiddenError        403  it comes from a page of another site
+- NotFoundError         404  what it names is not there
+- SlowBodyError         408  its body did not arrive in time
+- ConflictError         409  the state of what it names forbids it
+- TooLargeError         413  its body is too large
+- MisdirectedError      421  it names a host that this service is not known by
+- InvalidError          422  a field is wrong
+- UnavailableError      503  the database, the workers or the disk are not ready
   +- TooManyError       503  there is too much to do at this moment
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Self

from pydantic import BaseModel, Field

MEDIA_TYPE = "application/problem+json"
MOST_FAULTS = 50  # named in one problem


class Fault(BaseModel):
    """One thing that is wrong, and what to do about it."""

    field: str | None = Field(
        description="Field of the body, query, path or header that is wrong; null where no single one is."
    )
    message: str = Field(description="What is wrong with the field.")
    remedy: str = Field(description="What to do to correct it.")


class Problem(BaseModel):
    """An RFC 9457 problem document."""

    type: str = Field(
        examples=["urn:zoorank:problem:invalid"],
        description="Identifier of the kind of problem, which stays the same.",
    )
    title: str = Field(examples=["A field is wrong"], description="The kind of problem in words.")
    status: int = Field(examples=[422], description="HTTP status of the answer.")
    detail: str = Field(examples=["there is no measure 'logm'"], description="What happened in this very request.")
    errors: list[Fault] = Field(description="Each field that is wrong, with its remedy.")


class ServiceError(Exception):
    """A request that can't be answered; `errors` name the fields and the remedies."""

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "internal"
    title: ClassVar[str] = "The service failed"
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self, detail: str, *, field: str | None = None, remedy: str = "", errors: list[Fault] | None = None
    ) -> None:
        super().__init__(detail)
        single = [Fault(field=field, message=detail, remedy=remedy)] if remedy else []
        self.errors = single if errors is None else errors

    @classmethod
    def of(cls, faults: Sequence[Fault]) -> Self:
        """The error of several faults, of which the first MOST_FAULTS are named."""
        named = list(faults[:MOST_FAULTS])
        return cls("; ".join(fault.message for fault in named), errors=named)

    def problem(self) -> Problem:
        """The document that the client gets."""
        return Problem(
            type=f"urn:zoorank:problem:{self.kind}",
            title=self.title,
            status=self.status,
            detail=str(self),
            errors=self.errors,
        )


class BrokenRequestError(ServiceError):
    """The request can't be read."""

    status = 400
    kind = "broken-request"
    title = "The request can't be read"


class ForbiddenError(ServiceError):
    """The request comes from a page of another site."""

    status = 403
    kind = "forbidden"
    title = "This may not be asked from there"


class SlowBodyError(ServiceError):
    """The body did not arrive in time."""

    status = 408
    kind = "slow-body"
    title = "The body did not arrive in time"


class MisdirectedError(ServiceError):
    """The request names a host that this service is not known by."""

    status = 421
    kind = "misdirected"
    title = "This is not that host"


class NotFoundError(ServiceError):
    """What the request names is not there."""

    status = 404
    kind = "not-found"
    title = "There is no such thing"


class ConflictError(ServiceError):
    """The state of what the request names forbids it."""

    status = 409
    kind = "conflict"
    title = "The present state forbids this"


class TooLargeError(ServiceError):
    """The body is too large."""

    status = 413
    kind = "too-large"
    title = "The body is too large"


class InvalidError(ServiceError):
    """A field is wrong."""

    status = 422
    kind = "invalid"
    title = "A field is wrong"


class UnavailableError(ServiceError):
    """The database, the workers or the disk are not ready."""

    status = 503
    kind = "unavailable"
    title = "Not ready yet"


class TooManyError(UnavailableError):
    """There is too much to do at this moment; a repeat soon will do."""

    kind = "too-many"
    title = "Too much is under way"
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "5"}


_DOCUMENTED: tuple[type[ServiceError], ...] = (
    BrokenRequestError,
    ForbiddenError,
    NotFoundError,
    SlowBodyError,
    ConflictError,
    TooLargeError,
    MisdirectedError,
    InvalidError,
    UnavailableError,
)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of an operation that can answer with these statuses."""
    schema = {"$ref": "#/components/schemas/Problem"}
    titles = {error.status: error.title for error in _DOCUMENTED}
    return {
        status: {
            "description": titles.get(status, HTTPStatus(status).phrase),
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }


READ_PROBLEMS = problems(421, 422, 503)
FIND_PROBLEMS = problems(404, 421, 422, 503)
WRITE_PROBLEMS = problems(400, 403, 408, 409, 413, 421, 422, 503)
CHANGE_PROBLEMS = problems(400, 403, 404, 408, 409, 413, 421, 422, 503)
