"""Whether the data folder takes files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

PROBE_BYTES = 65_536  # more than a filesystem keeps for itself within a block


def lacking(folder: Path) -> str | None:
    """What is wrong with writing into this folder, with a remedy; None when a file could be written."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return (
            f"nothing can be written to the data folder ({error.strerror}), so results wait; "
            "make room on its disk, or repair its permissions"
        )
    return None
