"""/rankings/{id} for people."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from service.api.names import PathReference
from service.api.rankings import picture, service
from service.api.rankings.schemas import RankingOut
from service.api.web.render import page
from service.ledger.fusion import DERIVED
from service.store.session import reading
from service.store.tables import ENDED_STATES, OPEN_STATES, WorkState

router = APIRouter(include_in_schema=False)


@router.get("/rankings/{ranking_id}")
def show_ranking(request: Request, ranking_id: PathReference) -> Response:
    """Live progress, the ranked list, every score."""
    with reading() as session:
        ranking = service.ranked(session, ranking_id)
        if ranking.state in ENDED_STATES:  # while it runs, the page is fetched again and again
            ranking = service.ranked(session, ranking_id, records=True)
    return page(
        request,
        "ranking.html",
        ranking=ranking,
        running=ranking.state not in ENDED_STATES,
        measures=_columns(ranking),
        placed=[row for row in ranking.ranked if row.position is not None],
        unplaced=[row for row in ranking.ranked if row.position is None and row.state == WorkState.DONE],
        unfinished=[row for row in ranking.ranked if row.state in OPEN_STATES],
        failed=[row for row in ranking.ranked if row.state in (WorkState.FAILED, WorkState.CANCELED)],
        bars=picture.bars_of(ranking),
        curves=picture.curves_of(ranking),
        sizes=picture,
    )


def _columns(ranking: RankingOut) -> list[str]:
    """The ordering measure, the derived scores that there are, then all others."""
    held = {name for row in ranking.ranked for name in row.scores}
    derived = [name for name in DERIVED if name in held]
    return list(dict.fromkeys([ranking.order_by, *derived, *ranking.measures]))
