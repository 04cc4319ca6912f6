"""What endpoints share: cursor pages, references, and answering a POST once.

Endpoints open their session themselves, around the call of their domain's service, in their own thread:
a session held by a dependency would stay open while FastAPI waits for a thread to serialise the answer,
and under load all threads wait for each other.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated, Any, Generic, Literal, Protocol, TypeVar

from fastapi import Depends, Header, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from service.bodies import strict_json
from service.errors import InvalidError
from service.store import idempotency
from service.store.session import Session, transaction
from service.store.tables import IdempotentRequest

_NOT_IN_NAMES = r"[^A-Za-z0-9._+-]+"
ID_PATTERN = r"^[a-z]{2}_[0-9a-f]{21}$"
Text = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]
Name = Annotated[
    str,
    StringConstraints(max_length=120, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+-]*$"),
    Field(description="Letters, digits, and ` ._+-`."),
]
Reference = Annotated[Text, Field(description="An id, or a name.")]
PathReference = Annotated[str, Path(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]

After = Annotated[
    str | None, Query(pattern=ID_PATTERN, description="The `next` of the page before: where this one starts.")
]
Limit = Annotated[int, Query(ge=1, le=100, description="At most this many.")]
Task = Literal["classification", "segmentation", "regression", "multilabel"]
WorkState = Literal["queued", "running", "done", "failed", "canceled"]

Shown = TypeVar("Shown")


class Page(BaseModel, Generic[Shown]):
    """One page of a list, newest first."""

    items: list[Shown] = Field(description="At most `limit` of them.")
    next: str | None = Field(description="Give it as `after` to get the next page; null: this is the last.")


class NamedOut(BaseModel):
    """A dataset or checkpoint that something refers to."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(description="Its id.")
    name: str = Field(description="Its name.")


class _Identified(Protocol):
    @property
    def id(self) -> Any: ...


Row = TypeVar("Row", bound=_Identified)


def name_from(path: FilePath, *, otherwise: str) -> str:
    """A permitted name for what a file holds, from the file's own."""
    return re.sub(_NOT_IN_NAMES, "-", path.stem).strip("-._+")[:120] or otherwise


def page_of(rows: Sequence[Row], limit: int, show: Callable[[Row], Shown]) -> Page[Shown]:
    """A page from rows that were asked for with `limit + 1`, to learn whether there are more."""
    kept = rows[:limit]
    return Page(items=[show(row) for row in kept], next=kept[-1].id if len(rows) > limit else None)


@dataclass(frozen=True)
class Once:
    """Answers a POST in one transaction; under an Idempotency-Key, a repeat gets the first answer."""

    route: str
    key: str | None
    body_hash: str

    def answer(
        self, status: int, act: Callable[[Session], BaseModel], *, location: str | None = None
    ) -> JSONResponse:
        """Do `act`, or repeat what it answered; `location` is a pattern for the result's fields."""
        with transaction() as session:
            kept = self._kept(session)
            replayed = kept is not None and kept.status != 0
            if kept is None or not replayed:
                content = act(session).model_dump(mode="json")
                kept = self._keep(kept, status, content, location)
        headers = {"Idempotent-Replayed": "true"} if replayed else {}
        if kept.body["location"]:
            headers["Location"] = kept.body["location"]
        return JSONResponse(kept.body["content"], kept.status, headers)

    def _kept(self, session: Session) -> IdempotentRequest | None:
        if self.key is None:
            return None
        row = idempotency.reserve(session, key=self.key, route=self.route, body_hash=self.body_hash)
        if row.body_hash != self.body_hash:
            raise InvalidError(
                "this Idempotency-Key was used before with another body",
                field="Idempotency-Key",
                remedy="use a new key for a new request, or repeat the first body",
            )
        return row

    def _keep(
        self, row: IdempotentRequest | None, status: int, content: Any, location: str | None
    ) -> IdempotentRequest:
        kept = row or IdempotentRequest(key="", route=self.route, body_hash=self.body_hash)
        kept.status = status
        kept.body = {"content": content, "location": location.format(**content) if location else None}
        return kept


async def _digest(request: Request) -> str:
    body = await request.body()
    canonical = json.dumps(strict_json(body), sort_keys=True) if body else ""
    return hashlib.sha256(canonical.encode()).hexdigest()


# Of the body; asking for it refuses what is not strict JSON.
StrictBody = Annotated[str, Depends(_digest)]


async def _once(
    request: Request,
    digest: StrictBody,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=200,
            pattern=r"^[\x20-\x7e]+$",
            description="A repeat of the request under the same key gets the first answer again, "
            "and nothing is made twice. Answers are kept for 24 hours.",
            examples=["4fd7e1a0-rank-discs"],
        ),
    ] = None,
) -> Once:
    return Once(f"{request.method} {request.url.path}", idempotency_key, digest)


Repeatable = Annotated[Once, Depends(_once)]
