"""Whether this worker is stopping, as its children see it."""

from __future__ import annotations

import os

from billiard import Event

# Made in the parent before it forks, so that all children share it.
_stop = Event()
_parent = os.getpid()


def request(**_: object) -> None:
    """In the parent: ask the children to give back what they work on."""
    _stop.set()


def requested() -> bool:
    """In a child: whether the parent is stopping, or gone."""
    return bool(_stop.is_set()) or (os.getpid() != _parent and os.getppid() != _parent)
