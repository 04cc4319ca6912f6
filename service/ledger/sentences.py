"""Every sentence of an answer, from what the answer holds."""

from __future__ import annotations

from collections.abc import Sequence

from service.ledger.wording import duration
from service.store.answer_contents import Answer, NamedCandidate

NO_EVIDENCE = (
    "There is no evidence for an answer: no candidate that may be placed has a history, or a sound score of a "
    "measure that counts."
)
DEVIATIONS = "standard deviations"
NO_UNIT = (
    "Differences are counted in standard deviations, since no tolerance was given for this metric or nothing is "
    "known yet of how far its outcomes lie apart."
)
MOST_NAMED = 8


def sentences(answer: Answer) -> list[str]:
    """What to do, what it may cost, and how such answers did before; not what is missing (see `coverage`)."""
    if answer.first is None:
        covered = answer.coverage
        return [NO_EVIDENCE] if covered.evaluated and not covered.open else []
    if not answer.coverage.is_complete:
        return [_so_far(answer)]
    if answer.coverage.candidates == 1:
        return [f"Use {answer.first.name}: it is the only candidate."]
    what = {"use": _use, "any": _any, "shortlist": _shortlist}[answer.kind or "shortlist"]
    unit = [NO_UNIT] if answer.unit == DEVIATIONS else []
    return [*what(answer), _loss(answer), *unit, *_past(answer)]


def _so_far(answer: Answer) -> str:
    """The first of those that were evaluated, while others are open or missing."""
    assert answer.first is not None  # noqa: S101 - see `sentences`
    if answer.coverage.evaluated == 1:
        return f"{answer.first.name} is the only one evaluated."
    return (
        f"Of those evaluated, {answer.first.name} comes first: it is {_percent(answer.within)} likely that none "
        f"of the others is more than {_amount(answer.tolerance, answer)} better."
    )


def _use(answer: Answer) -> list[str]:
    assert answer.first is not None  # noqa: S101 - see `sentences`
    return [
        f"Use {answer.first.name}: it is {_percent(answer.within)} likely that none of these candidates is more "
        f"than {_amount(answer.tolerance, answer)} better."
    ]


def _any(answer: Answer) -> list[str]:
    cheapest = answer.cheapest or answer.first
    assert cheapest is not None  # noqa: S101 - see `sentences`
    return [
        f"Any of {_listed(answer.equal)} will do: each is at least {_percent(answer.within_equal)} likely to be "
        f"within {_amount(answer.tolerance, answer)} of the best of these candidates. Take {cheapest.name}"
        + (", which trains fastest." if answer.cheapest else ".")
    ]


def _shortlist(answer: Answer) -> list[str]:
    assert answer.first is not None  # noqa: S101 - see `sentences`
    names = _listed(answer.shortlist)
    seconds = f" That takes about {duration(answer.shortlist_seconds)}." if answer.shortlist_seconds else ""
    return [
        f"The evidence does not single one out. Finetune {names}: it is {_percent(answer.cover)} likely that one "
        f"of them is within {_amount(answer.tolerance, answer)} of the best of these candidates.",
        f"Start with {answer.next_run.name}; its outcome also tells how much the choice matters here.{seconds}"
        if answer.next_run
        else f"All of them have outcomes here; {answer.first.name} is the best so far.",
    ]


def _loss(answer: Answer) -> str:
    """What following the first choice costs, and what that was learned from."""
    basis = (
        f"learned from {answer.past_targets} past target{'s' * (answer.past_targets != 1)}"
        if answer.past_targets
        else "there was no past target of this task to learn from, only what studies have published"
    )
    assert answer.first is not None  # noqa: S101 - see `sentences`
    assert answer.expected_regret is not None  # noqa: S101 - as above
    low, high = answer.regret_interval or (0.0, 0.0)
    return (
        f"Taking {answer.first.name} alone is expected to cost {_amount(answer.expected_regret, answer)} against "
        f"the best (80 %: {_number(low, answer)} to {_number(high, answer)}); {basis}."
    )


def _past(answer: Answer) -> list[str]:
    past = answer.past
    if past is None or not past.targets or answer.unit == DEVIATIONS:
        return []
    return [
        f"On {past.targets} past target{'s' * (past.targets != 1)} such answers expected a cost of "
        f"{_amount(past.expected, answer)}, and {_number(past.came, answer)} came."
    ]


def _amount(value: float, answer: Answer) -> str:
    """A difference of outcomes with its unit: points of 100 where the metric lies between 0 and 1."""
    number = _number(value, answer)
    if answer.unit == "points":
        return f"{number} point{'s' * (number != '1')}"
    if answer.unit == DEVIATIONS:
        return f"{number} standard deviations of the candidates' outcomes"
    return f"{number} {answer.unit}".strip()


def _number(value: float, answer: Answer) -> str:
    shown = 100 * value if answer.unit == "points" else value
    return f"{shown:.2g}" if abs(shown) < 100 else f"{shown:.0f}"


def _percent(share: float | None) -> str:
    """A probability, never said to be certain."""
    return "" if share is None else f"{min(max(share, 0.01), 0.99):.0%}".replace("%", " %")


def _listed(names: Sequence[NamedCandidate]) -> str:
    shown = [one.name for one in names[:MOST_NAMED]]
    more = len(names) - len(shown)
    if more > 0:
        return f"{', '.join(shown)} and {more} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
