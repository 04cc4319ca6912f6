"""A card's spacing is used by the service; one that a user gave before is taken over, or kept beside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "card_spacing"
down_revision = "pauses"
branch_labels = None
depends_on = None

FIELD, BESIDE = "spacing", "spacing_as_given"
Json = dict[str, Any]


def upgrade() -> None:
    _rewrite(_taken_over)


def downgrade() -> None:
    _rewrite(_given_back)


def _taken_over(card: Json, dims: int) -> Json:
    more = dict(card["more"])
    if FIELD not in more:
        return card
    given = more.pop(FIELD)
    if _is_spacing(given, dims):
        return {**card, FIELD: given, "more": more}
    return {**card, "more": {**more, BESIDE: given}}


def _given_back(card: Json, dims: int) -> Json:
    kept = {name: value for name, value in card.items() if name != FIELD}
    more = dict(card["more"])
    given = card.get(FIELD) or more.pop(BESIDE, None)
    return {**kept, "more": more if given is None else {**more, FIELD: given}}


def _is_spacing(given: object, dims: int) -> bool:
    return (
        isinstance(given, list)
        and len(given) == dims
        and all(type(size) in (int, float) and 0 < size < math.inf for size in given)
    )


def _rewrite(change: Callable[[Json, int], Json]) -> None:
    id_, card, parameters = (
        sa.column("id", sa.Text()),
        sa.column("card", sa.JSON()),
        sa.column("parameters", sa.JSON()),
    )
    rows = sa.table("checkpoints", id_, card, parameters)
    connection = op.get_bind()
    query = sa.select(id_, card, parameters).select_from(rows)
    for row in connection.execute(query).mappings().all():
        before: Json = dict(row["card"])
        after = change(before, int(row["parameters"].get("spatial_dims", 0)))
        if after != before:
            connection.execute(sa.update(rows).where(id_ == row["id"]).values(card=after))
