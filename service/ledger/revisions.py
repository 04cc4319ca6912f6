"""What a ranking says: derived from the ledger as it is now, or as a stored revision of its answer has it."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace

from service.ledger import left_out, ranked_list, stored_list
from service.ledger.answer import NOT_YET, Past, answer_of, flags_of, notes_of, past_of
from service.ledger.fusion import DERIVED, Fusion
from service.ledger.ranked_list import Candidate, Rows
from service.store.answer_contents import LearnedFrom, RevisionContent
from service.store.session import Session
from service.store.tables import Ranking


@dataclass(frozen=True)
class Said:
    """What a ranking says at one moment, beside its rows as they are now."""

    content: RevisionContent
    candidates: list[Candidate]  # in the order of the content
    flags: list[str]


def derive(session: Session, ranking: Ranking, rows: Rows, *, group: str | None = None) -> Said:
    """What the ranking says by the ledger as it is now; expensive where the ledger is large.

    Outcomes are of the comparison group `group`, or else of the one that the request named, where a target has it.
    """
    ranked = ranked_list.rank(session, ranking, rows=rows, group=group)
    past = Past(None, NOT_YET) if rows.are_open else past_of(ranked.fusion, ranking.measures)
    content = RevisionContent(
        answer=answer_of(ranked, past.answers),
        order=stored_list.to_store(ranked.candidates, order_by=ranking.order_by, derived=DERIVED),
        track_record=past.track_record,
        learned_from=_learned_from(ranked.fusion, ranking, {row.checkpoint.name for row in ranked.candidates}),
        notes=tuple(notes_of(ranked, past.track_record)),
    )
    return Said(content, ranked.candidates, flags_of(ranked.candidates, rows.flags))


def recall(ranking: Ranking, rows: Rows, content: RevisionContent) -> Said:
    """What the ranking said by a stored revision, and which rows changed since; nothing is derived."""
    candidates = stored_list.recalled(ranking, rows, content)
    changed = stored_list.other_states(candidates, content.answer.coverage)
    said = replace(content, notes=(*content.notes, *changed))
    return Said(said, candidates, flags_of(candidates, rows.flags))


def _learned_from(fusion: Fusion, ranking: Ranking, candidates: Set[str]) -> LearnedFrom:
    trust = {name: fusion.trust[name] for name in ranking.measures if fusion.trust.get(name)}
    groups = {record.target: record.group.words for record in fusion.history if record.group}
    divided = left_out.divided(fusion, candidates)
    return LearnedFrom(
        targets=tuple(record.target for record in fusion.history),
        groups=groups,
        comparisons=left_out.to_store(divided),
        trust=trust,
    )
