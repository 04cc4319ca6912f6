"""Idempotent POSTs: the first answer under an Idempotency-Key is stored and repeated for 24 hours.

Endpoints open their session themselves, around the call of their domain's service, in their own thread:
a session held by a dependency would stay open while FastAPI waits for a thread to serialise the answer,
and under load all threads wait for each other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from service.api.errors import InvalidError
from service.api.strict_json import strict_json
from service.store import idempotency
from service.store.session import Session, reading, transaction
from service.store.tables import IdempotentRequest


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
        return _response(kept, replayed=replayed)

    def repeated(self) -> JSONResponse | None:
        """The answer that was kept under the key; None where nothing was done under it yet.

        For endpoints that read before they act: what they read now may have changed since the first request.
        """
        if self.key is None:
            return None
        with reading() as session:
            kept = idempotency.find(session, self.key, self.route)
            if kept is None or kept.status == 0:
                return None
            self._refuse_another_body(kept)
            return _response(kept, replayed=True)

    def answer_shown(
        self,
        status: int,
        act: Callable[[Session], str],
        show: Callable[[Session, str], BaseModel],
        *,
        location: str | None = None,
    ) -> JSONResponse:
        """Do `act`, which gives an id, in one transaction; then `show` the id's row in a reading session.

        So what is expensive to show is shown while nothing is locked. Where the process dies in between, a repeat
        under the key does not act again; it shows what was made.
        """
        with transaction() as session:
            kept = self._kept(session)
            replayed = kept is not None and kept.status != 0
            if kept is None or not replayed:
                kept = self._keep(kept, status, {"id": act(session)}, location, shown=False)
        if not kept.body.get("shown", True):
            with reading() as session:
                content = show(session, kept.body["content"]["id"]).model_dump(mode="json")
            with transaction() as session:
                kept = self._keep(self._kept(session), status, content, location)
        return _response(kept, replayed=replayed)

    def _kept(self, session: Session) -> IdempotentRequest | None:
        if self.key is None:
            return None
        row = idempotency.reserve(session, key=self.key, route=self.route, body_hash=self.body_hash)
        self._refuse_another_body(row)
        return row

    def _refuse_another_body(self, kept: IdempotentRequest) -> None:
        if kept.body_hash != self.body_hash:
            raise InvalidError(
                "this Idempotency-Key was used before with another body",
                field="Idempotency-Key",
                remedy="use a new key for a new request, or repeat the first body",
            )

    def _keep(
        self,
        row: IdempotentRequest | None,
        status: int,
        content: Any,
        location: str | None,
        *,
        shown: bool = True,
    ) -> IdempotentRequest:
        kept = row or IdempotentRequest(key="", route=self.route, body_hash=self.body_hash)
        kept.status = status
        kept.body = {
            "content": content,
            "location": location.format(**content) if location else None,
            "shown": shown,
        }
        return kept


def _response(kept: IdempotentRequest, *, replayed: bool) -> JSONResponse:
    headers = {"Idempotent-Replayed": "true"} if replayed else {}
    if kept.body["location"]:
        headers["Location"] = kept.body["location"]
    return JSONResponse(kept.body["content"], kept.status, headers)


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
            description="Key under which the answer is kept for 24 hours: a repeat of the request gets the same "
            "answer, and nothing is made twice.",
            examples=["4fd7e1a0-rank-discs"],
        ),
    ] = None,
) -> Once:
    return Once(f"{request.method} {request.url.path}", idempotency_key, digest)


Repeatable = Annotated[Once, Depends(_once)]
