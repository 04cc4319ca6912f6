"""The memory of this machine."""

from __future__ import annotations

import os


def memory() -> int:
    """Bytes of physical memory; a file or network that needs more is refused before it is loaded."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
