"""What a file may have put into results, made fit for JSON, the databases and a page."""

from __future__ import annotations

import math
from typing import Any

LONGEST_REASON = 2000  # characters


def storable(value: Any) -> Any:
    """The same, with None for NaN and infinity, and text without NUL and lone surrogates."""
    if isinstance(value, dict):
        return {storable(key): storable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [storable(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return text(value) if isinstance(value, str) else value


def text(value: str) -> str:
    """Text that UTF-8 and every database can hold."""
    return value.encode("utf-8", "replace").decode().replace("\0", "?")


def reason_of(error: Exception) -> str:
    """An error's words as a reason: on one line, and no longer than one reads."""
    words = " ".join(text(str(error)).split())
    return words if len(words) <= LONGEST_REASON else f"{words[:LONGEST_REASON]} ..."
