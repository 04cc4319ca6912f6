"""Answers to POSTs that carried an Idempotency-Key."""

from __future__ import annotations

import time

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.store.tables import IdempotentRequest

KEPT_SECONDS = 24 * 3600


def find(session: Session, key: str, route: str) -> IdempotentRequest | None:
    """The answer kept under this key for this route."""
    return session.get(IdempotentRequest, (key, route))


def keep(session: Session, request: IdempotentRequest) -> None:
    """Keep an answer; a second one under the same key breaks the primary key."""
    session.add(request)
    session.flush()


def reserve(session: Session, *, key: str, route: str, body_hash: str) -> IdempotentRequest:
    """The answer kept under this key; else a new row with status 0, to be filled in this transaction.

    A second request under the key waits here until the first one's transaction is over.
    """
    row = IdempotentRequest(key=key, route=route, body_hash=body_hash, status=0, body={})
    kept = find(session, key, route)
    if kept is not None:
        return kept
    try:
        with session.begin_nested():
            keep(session, row)
    except IntegrityError:
        return session.get_one(IdempotentRequest, (key, route))
    return row


def prune(session: Session) -> None:
    """Delete the answers that are older than `KEPT_SECONDS`."""
    old = IdempotentRequest.created_at < time.time() - KEPT_SECONDS
    session.execute(delete(IdempotentRequest).where(old))
