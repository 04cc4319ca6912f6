"""The memory that this process may use, and errors that say there is too little."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import torch

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
STATUS = Path("/proc/self/status")
# How torch names a failed allocation where it raises a plain RuntimeError.
ALLOCATION_FAILED = ("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


def memory() -> int:
    """Bytes that this process may use; a file or network that needs more is refused before it is loaded.

    The least of the machine's memory, the limits of its control groups, and what is left of its own limit.
    """
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    own, _ = resource.getrlimit(resource.RLIMIT_DATA)
    left = [] if own == resource.RLIM_INFINITY else [max(0, own - data_bytes())]
    return min([physical, *of_control_groups(), *left])


def data_bytes() -> int:
    """Bytes that this process has taken of what RLIMIT_DATA limits; 0 where the system does not say."""
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:")), 0)


def of_control_groups(mounted: Path = CGROUPS, own: Path = OWN_CGROUPS) -> Iterator[int]:
    """The memory limits, in bytes, of the control groups that this process is in (version 1 and 2), if any."""
    try:
        entries = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, group in (entry for entry in entries if len(entry) == 3):
        if controllers == "":
            yield from _limits(mounted, group, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _limits(mounted / "memory", group, "memory.limit_in_bytes")


def _limits(mounted: Path, group: str, name: str) -> Iterator[int]:
    """Those of a group and of all above it; inside a container only some of the folders may be there."""
    path = mounted / group.lstrip("/")
    for folder in [path, *path.parents]:
        try:
            limit = (folder / name).read_text().strip()
        except OSError:
            limit = ""
        if limit.isdigit():
            yield int(limit)
        if folder == mounted:
            return


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be allocated; torch says it on the CPU by a RuntimeError."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in ALLOCATION_FAILED)
