"""Answers to POSTs that carried an Idempotency-Key."""

from __future__ import annotations

from sqlalchemy.orm import Session

from service.store.tables import IdempotentRequest


def find(session: Session, key: str, route: str) -> IdempotentRequest | None:
    """The answer kept under this key for this route."""
    return session.get(IdempotentRequest, (key, route))


def keep(session: Session, request: IdempotentRequest) -> None:
    """Keep an answer; a second one under the same key breaks the primary key."""
    session.add(request)
    session.flush()
