"""/rankings/{id} for people."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from service.dependencies import PathReference
from service.rankings import picture, service
from service.rankings.schemas import RankingOut
from service.store.fusion import DERIVED
from service.store.session import reading
from service.web.render import page

router = APIRouter(include_in_schema=False)
_ENDED = ("done", "canceled")


@router.get("/rankings/{ranking_id}")
def show_ranking(request: Request, ranking_id: PathReference) -> Response:
    """Live progress, the ranked list, every score."""
    with reading() as session:
        ranking = service.ranked(session, ranking_id)
        if ranking.state in _ENDED:  # while it runs, the page is fetched again and again
            ranking = service.ranked(session, ranking_id, records=True)
    return page(
        request,
        "ranking.html",
        ranking=ranking,
        running=ranking.state not in _ENDED,
        measures=_columns(ranking),
        placed=[row for row in ranking.ranked if row.position is not None],
        unplaced=[row for row in ranking.ranked if row.position is None and row.state == "done"],
        unfinished=[row for row in ranking.ranked if row.state in ("queued", "running")],
        failed=[row for row in ranking.ranked if row.state in ("failed", "canceled")],
        bars=picture.bars_of(ranking),
        curves=picture.curves_of(ranking),
        sizes=picture,
    )


def _columns(ranking: RankingOut) -> list[str]:
    """The ordering measure, the derived scores that there are, then all others."""
    held = {name for row in ranking.ranked for name in row.scores}
    derived = [name for name in DERIVED if name in held]
    return list(dict.fromkeys([ranking.order_by, *derived, *ranking.measures]))
