"""Which revision of a ranking's answer is shown, and the list of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from service.api.errors import ConflictError, InvalidError, NotFoundError
from service.api.outcomes.schemas import GroupOut
from service.api.paging import Page
from service.api.rankings.revision_schemas import AnswerOut, DifferenceOut, GrowthOut, NewerOut, RevisionOut
from service.jobs.answers import Derived, derive, renew
from service.ledger import revisions
from service.ledger.differences import difference, growth_in_words
from service.ledger.ranked_list import Rows
from service.ledger.revisions import Said
from service.ledger.training import trainings
from service.store import answers, datasets, ledger_changes
from service.store.ledger_changes import Growth
from service.store.session import Session
from service.store.tables import AnswerRevision, Ranking

NOW = "now"
MOST_CHANGES = 50  # of one answer; an import may change 20 000 targets


def shown(
    session: Session, ranking: Ranking, rows: Rows, as_of: str | None, group: str | None = None
) -> tuple[Said, AnswerOut]:
    """What the ranking says by the newest revision, by the one with the number `as_of`, or as derived `now`.

    It is derived, too, while the ranking runs, where no revision is stored, and for a comparison group `group`.
    """
    if group is not None and as_of not in (None, NOW):
        raise InvalidError(
            "a stored revision is learned from the outcomes that counted then",
            field="protocol",
            remedy="leave out `as_of`, or give `as_of=now`",
        )
    newest = answers.latest(session, ranking.id)
    runs = rows.are_open or ranking.answer_due_at is not None
    chosen = _chosen(session, ranking.id, None if runs else newest, NOW if group else as_of)
    latest = newest.number if newest else None
    counting = _group(session, group or ranking.comparison_group)
    if chosen is None:
        said = revisions.derive(session, ranking, rows, group=group)
        return said, AnswerOut(
            **vars(said.content.answer),
            latest_revision=latest,
            ledger_revision=ledger_changes.current(session),
            comparison_group=counting,
            learned_from=said.content.learned_from,
        )
    said = revisions.recall(ranking, rows, chosen.content)
    return said, AnswerOut(
        **vars(said.content.answer),
        revision=chosen.number,
        at=datetime.fromtimestamp(chosen.at, UTC),
        latest_revision=latest,
        ledger_revision=chosen.ledger_revision,
        comparison_group=counting,
        learned_from=said.content.learned_from,
        newer=_newer(session, ranking, chosen, newest or chosen),
    )


def _group(session: Session, group: str | None) -> GroupOut | None:
    return None if group is None else GroupOut(id=group, words=trainings(session).of_group(group).words)


def _chosen(
    session: Session, ranking_id: str, usual: AnswerRevision | None, as_of: str | None
) -> AnswerRevision | None:
    """The revision to show; None to derive."""
    if as_of is None:
        return usual
    return None if as_of == NOW else _numbered(session, ranking_id, int(as_of))


def _numbered(session: Session, ranking_id: str, number: int) -> AnswerRevision:
    found = answers.numbered(session, ranking_id, number)
    if found is None:
        raise NotFoundError(
            f"ranking {ranking_id} has no revision {number} of its answer",
            field="as_of",
            remedy=f"see GET /v1/rankings/{ranking_id}/answers",
        )
    return found


def _newer(session: Session, ranking: Ranking, chosen: AnswerRevision, newest: AnswerRevision) -> NewerOut | None:
    own = _own_target(session, ranking)
    growth = ledger_changes.between(session, chosen.holds_until, for_target=own)
    if chosen.number < newest.number:
        text = f"Revision {newest.number} of this answer is newer."
        return NewerOut(as_of=str(newest.number), text=text, **_out(growth))
    if not growth:
        return None
    text = f"The ledger has changed since this answer was stored: {growth_in_words(growth)}."
    return NewerOut(as_of=NOW, text=text, **_out(growth))


def _own_target(session: Session, ranking: Ranking) -> str:
    return datasets.with_id(session, ranking.dataset_id).name


def _out(growth: Sequence[Growth]) -> dict[str, Any]:
    """The first changes and the number of the others, as fields of what goes out."""
    first = [GrowthOut.model_validate(each) for each in growth[:MOST_CHANGES]]
    return {"changes": first, "further_changes": len(growth) - len(first)}


def derived(session: Session, ranking: Ranking, *, is_over: bool) -> Derived:
    """What a ranking that is over says now, to be stored; call it in a reading session."""
    if not is_over:
        raise ConflictError(
            f"ranking {ranking.id} is not over",
            field="ranking",
            remedy="wait: its answer is stored when its last evaluation ends",
        )
    return derive(session, ranking)


def store(session: Session, ranking_id: str, says: Derived) -> RevisionOut:
    """The revision that holds what was derived: a new one, or the newest where it says the same."""
    revision = renew(session, ranking_id, says)
    before = answers.numbered(session, ranking_id, revision.number - 1)
    return _revision(session, revision, before, own=_own_target(session, session.get_one(Ranking, ranking_id)))


def listed(session: Session, ranking: Ranking, *, after: int | None, limit: int) -> Page[RevisionOut]:
    """One page of the revisions of a ranking's answer, newest first."""
    rows: list[AnswerRevision | None] = [*answers.listed(session, ranking.id, before=after, limit=limit + 1), None]
    own = _own_target(session, ranking)
    items = [_revision(session, one, before, own=own) for one, before in pairwise(rows) if one is not None][:limit]
    return Page(items=items, next=str(items[-1].number) if items and items[-1].number > 1 else None)


def _revision(session: Session, one: AnswerRevision, before: AnswerRevision | None, *, own: str) -> RevisionOut:
    since = before.ledger_revision if before else one.ledger_revision
    growth = ledger_changes.between(session, since, one.ledger_revision, for_target=own)
    changed = difference(before.content, one.content) if before else None
    return RevisionOut(
        number=one.number,
        at=datetime.fromtimestamp(one.at, UTC),
        ledger_revision=one.ledger_revision,
        holds_until=one.holds_until,
        answer=one.content.answer,
        learned_from=one.content.learned_from,
        difference=DifferenceOut.model_validate(changed) if changed else None,
        **_out(growth),
        why=_why(before, growth),
    )


def _why(before: AnswerRevision | None, growth: Sequence[Growth]) -> str:
    if before is None:
        return "It is the first answer that was stored."
    if growth:
        return f"The ledger had changed: {growth_in_words(growth)}."
    return "The evaluations had changed, or what the workers publish."
