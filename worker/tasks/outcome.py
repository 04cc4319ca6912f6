"""What a task hands over when its job is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Outcome(Protocol):
    """The result of one kind of job."""

    def columns(self) -> Mapping[str, Any]:
        """The values to write, by the columns of the job's row."""
