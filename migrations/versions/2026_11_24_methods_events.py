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
    ("datasets", "id", "inspection"),
    ("checkpoints", "id", "card"),
    ("checkpoints", "id", "preflight"),
    ("rankings", "id", "protocol"),
    ("rankings", "id", "finetune_protocol"),
    ("evaluations", "id", "facts"),
    ("finetune_runs", "id", "protocol"),
    ("finetune_runs", "id", "result"),
)
VERSION = 1
USED_SO_FAR = "ac_norm"  # the only method that rankings could ask for at the revision before


def upgrade() -> None:
    # Plain statements: batch mode would drop and copy tables that other tables refer to.
    op.add_column("rankings", sa.Column("finetune_method", sa.Text(), nullable=False, server_default=USED_SO_FAR))
    op.add_column("finetune_runs", sa.Column("options", sa.JSON(), nullable=False, server_default="{}"))
    _rewrite(lambda content: {**content, "version": VERSION})
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
    op.drop_table("events")
    _rewrite(lambda content: {key: value for key, value in content.items() if key != "version"})
    op.drop_column("finetune_runs", "options")
    op.drop_column("rankings", "finetune_method")


def _rewrite(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change every content that there is, row by row."""
    connection = op.get_bind()
    for name, key, column in CONTENTS:
        table = sa.table(name, sa.column(key, sa.Text()), sa.column(column, sa.JSON()))
        for row_id, content in connection.execute(sa.select(table.c[key], table.c[column])).all():
            if isinstance(content, dict):
                connection.execute(
                    sa.update(table).where(table.c[key] == row_id).values({column: change(content)})
                )
