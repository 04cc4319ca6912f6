"""/rankings/{id} for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fastapi import APIRouter, Request, Response

from service.api.names import Part, PathReference
from service.api.rankings import service
from service.api.rankings.revision_schemas import AsOf, RevisionOut
from service.api.rankings.schemas import RankedOut, RankingOut
from service.api.web.charts.bars import Bar, bars
from service.api.web.charts.curves import Curve, curves
from service.api.web.render import page
from service.ledger.fusion import DERIVED
from service.store.answer_contents import HeldGroup
from service.store.session import reading
from service.store.tables import OPEN_STATES, WorkState

router = APIRouter(include_in_schema=False)
_MOST_REVISIONS = 20  # on the page


@dataclass(frozen=True)
class RankingPage:
    """A ranking; its candidates by where they stand in it, and their drawings by candidate id."""

    template: ClassVar[str] = "rankings/ranking.html"
    ranking: RankingOut
    running: bool
    so_far: bool  # the answer is derived from a ranking that is not over
    asked: dict[str, str]  # parameters that show the same answer elsewhere
    hidden: int
    measures: list[str]
    placed: list[RankedOut]
    unplaced: list[RankedOut]
    unfinished: list[RankedOut]
    failed: list[RankedOut]
    with_outcomes: bool
    other_groups: list[HeldGroup]  # comparison groups that are left out on some target, each once
    revisions: list[RevisionOut]  # newest first, where there are several
    bars: dict[str, Bar]
    curves: dict[str, Curve]


@router.get("/rankings/{ranking_id}")
def show_ranking(
    request: Request, ranking_id: PathReference, as_of: AsOf = None, protocol: Part = None
) -> Response:
    """One ranking: live progress, the answer and its revisions, the ranked list, every score."""
    with reading() as session:
        # Records are long, and while the ranking runs, the page is fetched again and again.
        ranking = service.ranked(session, ranking_id, records=None, as_of=as_of, protocol=protocol or None)
        several = (ranking.answer.latest_revision or 0) > 1
        stored = service.answers(session, ranking_id, after=None, limit=_MOST_REVISIONS) if several else None
    rows = ranking.ranked
    context = RankingPage(
        ranking=ranking,
        running=ranking.state in OPEN_STATES,
        so_far=ranking.state in OPEN_STATES and ranking.answer.revision is None,
        asked={name: value for name, value in (("as_of", as_of), ("protocol", protocol)) if value},
        hidden=sum(ranking.counts.values()) - len(rows),
        measures=_columns(ranking),
        placed=_placed(rows),
        unplaced=[row for row in rows if row.position is None and row.state == WorkState.DONE],
        unfinished=[row for row in rows if row.state in OPEN_STATES],
        failed=[row for row in rows if row.state in (WorkState.FAILED, WorkState.CANCELED)],
        with_outcomes=any(row.outcome is not None for row in rows),
        other_groups=_left_out(ranking),
        revisions=stored.items if stored else [],
        bars=_bars(ranking),
        curves=curves(_losses(ranking)),
    )
    return page(request, context)


def _placed(rows: Sequence[RankedOut]) -> list[RankedOut]:
    return [row for row in rows if row.position is not None]


def _left_out(ranking: RankingOut) -> list[HeldGroup]:
    groups = [group for one in ranking.answer.learned_from.comparisons for group in one.left_out]
    return list({group.id: group for group in groups}.values())


def _columns(ranking: RankingOut) -> list[str]:
    """The ordering measure, then the derived scores that the list has, then all other measures."""
    scored = {name for row in ranking.ranked for name in row.scores}
    derived = [name for name in DERIVED if name in scored]
    return list(dict.fromkeys([ranking.order_by, *derived, *ranking.measures]))


def _losses(ranking: RankingOut) -> dict[str, Sequence[float | None]]:
    """Candidate id -> losses of the epoch; none where no measure of this list takes one."""
    if ranking.epochs_per_candidate == 0:
        return {}
    return {row.candidate.id: row.facts.losses for row in ranking.ranked}


def _bars(ranking: RankingOut) -> dict[str, Bar]:
    """Candidate id -> the bar of its ordering score."""
    scores = {row.candidate.id: row.scores.get(ranking.order_by) for row in ranking.ranked}
    values = {key: score.value for key, score in scores.items() if score and score.value is not None}
    return bars(values, sound={row.candidate.id for row in _placed(ranking.ranked)})
