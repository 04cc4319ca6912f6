"""Words and numbers for people; the pages and the terminal write them alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

NO_HISTORY = "no history yet"
_NO_SCORE = "n/a"


def number(value: object) -> str:
    """A float has four significant digits; None is empty; anything else is printed as it is."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)


def score(value: float | None) -> str:
    """A measure's score; "n/a" where the measure gave none."""
    return _NO_SCORE if value is None else number(value)


def correlation(value: float | None) -> str:
    """A correlation has two decimals; None is empty."""
    return "" if value is None else f"{value:.2f}"


def interval(ends: Sequence[float] | None) -> str:
    """The two ends of an interval of a correlation: "0.36 to 0.74"; None is empty."""
    return "" if ends is None else " to ".join(correlation(end) for end in ends)


def main_interval(intervals: Mapping[str, Sequence[float]]) -> Sequence[float] | None:
    """The interval over targets; with a single target there is none, and the one over candidates stands in."""
    return intervals.get("targets") or intervals.get("candidates")


def track_record(weighted_tau: float | None, ends: Sequence[float] | None = None, *, targets: int = 0) -> str:
    """A measure's agreement with past outcomes in short: "tau 0.58 [0.36, 0.74] on 4"."""
    if weighted_tau is None:
        return NO_HISTORY
    between = f" [{', '.join(correlation(end) for end in ends)}]" if ends else ""
    return f"tau {correlation(weighted_tau)}{between} on {targets}"


def seconds(value: float | None) -> str:
    """Seconds in a table's column: four significant digits, whole seconds from 1000 on."""
    return number(value) if value is None or value < 1000 else f"{value:.0f}"


def duration(value: float | None) -> str:
    """Seconds as a length of time in a sentence: "4.5 seconds", "15 minutes", "2.1 hours"."""
    if value is None:
        return ""
    if value < 120:
        return f"{value:.0f} seconds" if value >= 9.95 else f"{value:.1f} seconds"
    return f"{value / 60:.0f} minutes" if value < 7200 else f"{value / 3600:.1f} hours"


def finetune_estimate(value: float) -> str:
    """What a finetune of the list's first candidate takes, in a sentence."""
    return f"A full finetune of the first candidate takes about {duration(value)}."


def loaded(percent: float | None) -> str:
    """How much of a network its file holds, where that is not all: "69.3 % loaded"; else empty."""
    return "" if percent is None or percent >= 100 else f"{min(percent, 99.9):.1f} % loaded"


def moment(value: datetime | None) -> str:
    """A date and a time of day, in UTC; None is empty."""
    return "" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def revision(
    number: int | None, at: datetime | None, *, latest: int | None, ledger: int, chosen: str | None = None
) -> str:
    """Which answer is shown: a stored revision, or one that was derived for this reading. `chosen`: its group."""
    group = f" Where a target has outcomes of the chosen protocol ({chosen}), these count." if chosen else ""
    if number is not None:
        newest = "" if number == latest else f" The newest one is revision {latest}."
        return f"Revision {number} of the answer, stored {moment(at)}, by ledger revision {ledger}.{newest}{group}"
    stored = "no answer is stored yet." if latest is None else f"the newest stored one is revision {latest}."
    return f"This answer was derived by the ledger as it is now, revision {ledger}; {stored}{group}"


def counted(count: int, noun: str) -> str:
    """A count with its noun, which gets an s unless the count is 1: "3 candidates"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def counts(by_word: Mapping[str, int]) -> str:
    """Several counts on one line: "4 done, 1 failed"."""
    return ", ".join(f"{count} {word}" for word, count in by_word.items())


def steps(done: int, total: int) -> str:
    """Steps done of all steps: "3/12"; empty while the total is not known."""
    return f"{done}/{total}" if total else ""
