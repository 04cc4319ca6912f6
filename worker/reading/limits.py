"""Limits that the kernel keeps a process to, whatever the process does."""

from __future__ import annotations

import math
import resource

from models_zoo.machine import data_bytes

MARGIN_SECONDS = 5  # beyond the limit that the caller keeps with its own clock


def forbid_files() -> None:
    """No file can be written to, and no memory is dumped when the process crashes."""
    for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(kind, (0, 0))


def allow(*, memory: int, seconds: float) -> None:
    """Let the process take so many bytes and so many seconds of CPU beyond what it has taken by now.

    Where the system does not say what was taken (other than Linux), memory stays without a limit.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    _set(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + seconds + MARGIN_SECONDS))
    taken = data_bytes()
    if taken:
        _set(resource.RLIMIT_DATA, taken + memory)


def _set(kind: int, soft: int) -> None:
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
