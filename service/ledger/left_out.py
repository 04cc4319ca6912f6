"""Which outcomes count beside others that don't: a sentence for each target that a list takes outcomes of."""

from __future__ import annotations

from collections.abc import Sequence, Set

from service.ledger.fusion import Fusion
from service.ledger.statistics.target_record import GroupEvidence, TargetRecord
from service.ledger.wording import listed
from service.store.answer_contents import Comparison, HeldGroup

MOST_TARGETS = 5  # that get a sentence of their own


def divided(fusion: Fusion, candidates: Set[str]) -> list[TargetRecord]:
    """Records with outcomes of several groups: of the ranking's own target, if some are of its candidates, and of
    the past targets that the fused score is learned from."""
    name = fusion.dataset.name
    own = [record for record in fusion.records if record.target == name and _is_about(record, candidates)]
    return [record for record in (*own, *fusion.history) if record.other_groups]


def _is_about(record: TargetRecord, candidates: Set[str]) -> bool:
    return not candidates.isdisjoint((*record.outcomes, *record.left_out))


def in_words(records: Sequence[TargetRecord]) -> list[str]:
    """What counts on each of these targets and what is left out."""
    said = [_of_target(record) for record in records[:MOST_TARGETS]]
    more = len(records) - MOST_TARGETS
    if more > 0:
        said.append(f"Outcomes of other protocols are left out on {more} more targets; the agreement lists them.")
    return said


def to_store(records: Sequence[TargetRecord]) -> tuple[Comparison, ...]:
    """The same, as a revision of an answer stores it."""
    return tuple(
        Comparison(
            target=record.target,
            group=HeldGroup(**vars(record.group)),
            left_out=tuple(HeldGroup(**vars(group)) for group in record.other_groups),
        )
        for record in records
        if record.group is not None
    )


def _of_target(record: TargetRecord) -> str:
    counting = _held(record.group) if record.group else ""
    return f"On {record.target} {counting} count. Left out: {'; '.join(map(_held, record.other_groups))}."


def _held(group: GroupEvidence) -> str:
    """A group's metric, its candidates and seeds, and how it was trained."""
    seeds = f", {group.seeds} seeds" if group.seeds > 1 else ""
    return f"{group.metric} of {listed(group.candidates)} ({group.words}{seeds})"
