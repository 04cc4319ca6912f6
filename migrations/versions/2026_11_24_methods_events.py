"""The method of a ranking's finetune runs, options of methods, versions of JSON contents, and events of jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Columns whose content has a version from this revision on.
CONTENTS = (
    ("datasets", "inspection"),
    ("checkpoints", "preflight"),
    ("rankings", "protocol"),
    ("rankings", "finetune_protocol"),
    ("evaluations", "facts"),
    ("finetune_runs", "protocol"),
    ("finetune_runs", "result"),
)
VERSION = 1
SCORE_KEYS = ("evaluation_id", "measure")
CARD_ENTRIES = ("title", "source_task", "source_data", "modality", "licence", "normalisation", "head")
USED_SO_FAR = "ac_norm"  # the only method that rankings could ask for at the revision before
# What the service knew by itself at the revision before. It holds until a worker publishes.
FLAGS = {
    "degenerate": {"meaning": "The score carries no information.", "may_rank": False},
    "saturated": {"meaning": "The features separate the labels exactly.", "may_rank": False},
    "failed": {"meaning": "The measure could not be computed.", "may_rank": False},
    "not_applicable": {"meaning": "The measure has no meaning here.", "may_rank": False, "marks_missing": True},
}
METRICS = {
    "dice": {"meaning": "Dice overlap.", "preference": 1},
    "accuracy": {"meaning": "Share of right answers.", "preference": 2},
    "r2": {"meaning": "Coefficient of determination.", "preference": 3},
    "auc": {"meaning": "Area under the ROC curve.", "preference": 4},
}
PROTOCOLS = {"ranking": "ranking_protocol", "finetune": "finetune_protocol"}  # name before -> kind from now on
DEFAULT = "default"
ADDED = ("flag", "metric", "recipe", "target_task", "protocol_field", "card_field", *PROTOCOLS.values())
Json = dict[str, Any]


def upgrade() -> None:
    # Plain statements: batch mode would drop and copy tables that other tables refer to.
    op.add_column("rankings", sa.Column("finetune_method", sa.Text(), nullable=False, server_default=USED_SO_FAR))
    op.add_column("finetune_runs", sa.Column("options", sa.JSON(), nullable=False, server_default="{}"))
    for table, column in CONTENTS:
        _rewrite(table, column, lambda content: {**content, "version": VERSION})
    _rewrite("checkpoints", "card", _nested)
    _rewrite("scores", "record", lambda record: {"figures": record, "version": VERSION}, SCORE_KEYS)
    _publish_what_was_known()
    op.create_table(
        "events",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("row_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_events_at"), ["at"], unique=False)
        batch_op.create_index(batch_op.f("ix_events_row_id"), ["row_id"], unique=False)


def downgrade() -> None:
    _publish_as_before()
    op.drop_table("events")
    for table, column in CONTENTS:
        _rewrite(table, column, _without_version)
    _rewrite("checkpoints", "card", lambda card: {**_without_version(card), **card["more"]})
    _rewrite("scores", "record", lambda record: record["figures"], SCORE_KEYS)
    op.drop_column("finetune_runs", "options")
    op.drop_column("rankings", "finetune_method")


def _nested(card: Json) -> Json:
    """The entries that the service uses, and the others in `more`."""
    used = {name: value for name, value in card.items() if name in CARD_ENTRIES}
    more = {name: value for name, value in card.items() if name not in CARD_ENTRIES}
    return {**used, "more": more, "version": VERSION}


def _without_version(content: Json) -> Json:
    return {name: value for name, value in content.items() if name not in ("version", "more")}


def _rewrite(table: str, column: str, change: Callable[[Json], Json], keys: tuple[str, ...] = ("id",)) -> None:
    """Change every content of a column, row by row."""
    connection = op.get_bind()
    rows = sa.table(table, *(sa.column(key, sa.Text()) for key in keys), sa.column(column, sa.JSON()))
    for *values, content in connection.execute(sa.select(*(rows.c[key] for key in keys), rows.c[column])).all():
        if isinstance(content, dict):
            row = sa.and_(*(rows.c[key] == value for key, value in zip(keys, values, strict=True)))
            connection.execute(sa.update(rows).where(row).values({column: change(content)}))


def _capabilities() -> sa.TableClause:
    return sa.table(
        "capabilities", sa.column("kind", sa.Text()), sa.column("name", sa.Text()), sa.column("body", sa.JSON())
    )


def _publish_as_before() -> None:
    """The default protocols under their names before, and nothing of the kinds that are new."""
    table = _capabilities()
    now = op.get_bind().execute(sa.select(table.c.kind, table.c.body)).all()
    names = {kind: name for name, kind in PROTOCOLS.items()}
    op.execute(sa.delete(table).where(table.c.kind.in_((*ADDED, "protocol"))))
    rows = [
        {"kind": "protocol", "name": names[kind], "body": _without_version(body)}
        for kind, body in now
        if kind in names
    ]
    if rows:
        op.bulk_insert(table, rows)


def _publish_what_was_known() -> None:
    """Publish what the lists of a database in use depend on; a new database has nothing to list."""
    connection = op.get_bind()
    table = _capabilities()
    before = connection.execute(sa.select(table.c.kind, table.c.name, table.c.body)).all()
    if not before:
        return
    known = [("flag", name, body) for name, body in FLAGS.items()]
    known += [("metric", name, body) for name, body in METRICS.items()]
    known += [(PROTOCOLS[name], DEFAULT, body) for kind, name, body in before if kind == "protocol"]
    op.bulk_insert(table, [{"kind": kind, "name": name, "body": body} for kind, name, body in known])
