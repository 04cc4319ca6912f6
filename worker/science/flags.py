"""Flags: what a score, a candidate's evaluation or a whole ranked list should be read with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models_zoo.registry import Registry


@dataclass(frozen=True)
class Flag:
    """A named caveat; it is declared beside the code that raises it.

    A score with a flag that may not rank stands after all others. A flag with `differs` is one of a whole list:
    it holds when the candidates' figures of that name are not all the same, of those that were scored by a measure
    that names the flag in its `list_flags`. A flag `within_spread` is one of a score in a list: its
    spread is above the gap to the next candidate's. A flag `of_epoch` says something of the one epoch: a list
    whose measures take none has no such flag.
    """

    name: str
    meaning: str  # whole sentences, to be shown beside a score or a list
    may_rank: bool = True
    differs: str | None = None
    within_spread: bool = False
    of_epoch: bool = False
    marks_missing: bool = False  # the service gives it to a score that it can't derive from the ledger


_REGISTERED: Registry[Flag] = Registry("flag", "worker.science.evidence", "worker.science.measures")


def register(flag: Flag) -> Flag:
    """Add a flag under its name."""
    return _REGISTERED.add(flag.name, flag)


def flags() -> dict[str, Flag]:
    """Every registered flag by name (scans `worker.science.evidence` and `worker.science.measures`)."""
    return _REGISTERED.all()


def raised(conditions: Mapping[Flag, bool]) -> tuple[str, ...]:
    """Names of the flags whose condition holds, in the order given."""
    return tuple(flag.name for flag, holds in conditions.items() if holds)
