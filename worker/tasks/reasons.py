"""An error as the reason why a job failed."""

from __future__ import annotations

from service.jobs import storable_text

LONGEST_REASON = 2000  # characters


def reason_of(error: Exception) -> str:
    """The error's message on one line, cut to a readable length; a file's names can't steer a terminal by it."""
    words = " ".join("".join(map(_printable, storable_text(str(error)))).split())
    return words if len(words) <= LONGEST_REASON else f"{words[:LONGEST_REASON]} ..."


def _printable(character: str) -> str:
    return character if character.isprintable() or character.isspace() else "?"
