"""What the workers published, for requests that are checked by it."""

from __future__ import annotations

from typing import TypeVar

from service.api.errors import InvalidError, UnavailableError
from service.store import capabilities
from service.store.published import METHODS, TARGET_TASKS, CapabilityKind
from service.store.session import Session

Content = TypeVar("Content")


def published(session: Session, kind: CapabilityKind[Content]) -> dict[str, Content]:
    """Everything published of one kind, by name; UnavailableError when no worker has published yet."""
    entries = capabilities.of_kind(session, kind)
    if not entries:
        raise UnavailableError(
            f"no worker has published any {kind.name.replace('_', ' ')} yet",
            remedy="the worker is still starting (try again in a few seconds), or start one: `zoorank worker`, or "
            "`zoorank serve` which has one",
        )
    return entries


def usual_method(session: Session) -> str:
    """The finetune method that is used when a request names none."""
    methods = published(session, METHODS)
    return next((name for name, method in methods.items() if method.usual), next(iter(methods)))


def check_task(session: Session, task: str, *, field: str) -> None:
    """InvalidError unless the workers know this target task. Before any worker has published, none is refused."""
    tasks = capabilities.of_kind(session, TARGET_TASKS)
    if tasks and task not in tasks:
        raise InvalidError(
            f"there is no target task {task!r}", field=field, remedy=f"use one of: {', '.join(tasks)}"
        )
