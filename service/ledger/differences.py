"""What changed from one revision of an answer to the next, and what of the ledger changed meanwhile, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.ledger.wording import listed
from service.store.answer_contents import Coverage, NamedCandidate, RevisionContent
from service.store.ledger_changes import OUTCOME, Growth

MOST_NAMED = 3


@dataclass(frozen=True)
class Moved:
    """A candidate whose place changed; None: no place."""

    candidate: NamedCandidate
    before: int | None
    after: int | None


@dataclass(frozen=True)
class Difference:
    """What a revision says that the one before it did not."""

    leader_changed: bool
    answer_changed: bool
    moved: tuple[Moved, ...]
    text: str


def difference(before: RevisionContent, after: RevisionContent) -> Difference:
    """The places that moved, whether another candidate leads the list, and whether the answer is another."""
    places = {row.id: row.position for row in before.order}
    moved = tuple(
        Moved(NamedCandidate(id=row.id, name=row.name), places.get(row.id), row.position)
        for row in after.order
        if places.get(row.id) != row.position
    )
    led, leads = _leader(before), _leader(after)
    answer_changed = _choice(before) != _choice(after)
    sentences = [
        *([f"{leads or 'No candidate'} leads the list instead of {led or 'none'}."] if led != leads else []),
        *([_new_choice(after)] if answer_changed else []),
        *_other_coverage(before.answer.coverage, after.answer.coverage),
        f"{len(moved)} place{'s' * (len(moved) != 1)} changed." if moved else "No place changed.",
    ]
    return Difference(led != leads, answer_changed, moved, " ".join(sentences))


def _leader(content: RevisionContent) -> str | None:
    """The name of the first candidate of the list; None where none has a place."""
    return next((row.name for row in content.order if row.position is not None), None)


def _choice(content: RevisionContent) -> tuple[object, ...]:
    """What the answer decides, apart from its figures."""
    answer = content.answer
    named = (frozenset(answer.shortlist), frozenset(answer.equal)) if answer.kind else ()
    return answer.kind, answer.first, *named


def _new_choice(content: RevisionContent) -> str:
    answer = content.answer
    if answer.first is None:
        return "There is no answer now."
    names = listed([one.name for one in (answer.equal if answer.kind == "any" else answer.shortlist)], MOST_NAMED)
    if answer.kind == "shortlist":
        return f"The answer is a shortlist now: {names}."
    return (
        f"The answer is any of {names} now." if answer.kind == "any" else f"The answer is {answer.first.name} now."
    )


def _other_coverage(before: Coverage, after: Coverage) -> list[str]:
    """A sentence where the answer rests on other candidates than before; none where it does not."""
    if before.evaluated != after.evaluated:
        are = "candidate is" if after.evaluated == 1 else "candidates are"
        return [f"{after.evaluated} instead of {before.evaluated} {are} evaluated."]
    if {(row.id, row.state) for row in before.missing} != {(row.id, row.state) for row in after.missing}:
        return ["Other candidates are missing, or are missing for another reason."]
    return []


def growth_in_words(growth: Sequence[Growth]) -> str:
    """For example: 3 outcomes added on cups, discs; 1 evaluation added on lesions. Empty where nothing changed."""
    kinds = sorted({(each.kind != OUTCOME, each.kind, each.change) for each in growth})
    return "; ".join(
        _of_kind([each for each in growth if (each.kind, each.change) == (kind, change)])
        for _, kind, change in kinds
    )


def _of_kind(growth: Sequence[Growth]) -> str:
    count = sum(each.count for each in growth)
    targets = [each.target for each in growth]
    on = listed(targets, MOST_NAMED)
    return f"{count} {growth[0].kind}{'s' * (count != 1)} {growth[0].change} on {on}"
