"""What this machine can hold."""

from __future__ import annotations

import os


def memory() -> int:
    """Bytes of physical memory: what claims more is refused before it takes the machine down."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
