"""Comparison groups: the column is named so, and what the groups of own runs share is kept in a table."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "comparison_groups"
down_revision = "workers"
branch_labels = None
depends_on = None

_LEDGER = sa.table(
    "ledger", *(sa.column(name, sa.Text()) for name in ("id", "comparison_group", "finetune_run_id"))
)
_RUNS = sa.table(
    "finetune_runs",
    *(sa.column(name, sa.Text()) for name in ("id", "method")),
    *(sa.column(name, sa.JSON()) for name in ("options", "protocol")),
)


def upgrade() -> None:
    # Plain statements: batch mode would drop and copy a table that refers to others.
    op.execute("ALTER TABLE ledger RENAME COLUMN course TO comparison_group")
    groups = op.create_table(
        "comparison_groups",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("protocol", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comparison_groups")),
    )
    rows = _groups_so_far(op.get_bind())
    if rows:
        op.bulk_insert(groups, rows)


def downgrade() -> None:
    op.drop_table("comparison_groups")
    op.execute("ALTER TABLE ledger RENAME COLUMN comparison_group TO course")


def _groups_so_far(connection: sa.Connection) -> list[dict[str, Any]]:
    """One row for each group of own outcomes, by its first run."""
    query = (
        sa.select(_LEDGER.c.comparison_group.label("id"), _RUNS.c.method, _RUNS.c.options, _RUNS.c.protocol)
        .join_from(_LEDGER, _RUNS, _LEDGER.c.finetune_run_id == _RUNS.c.id)
        .order_by(_LEDGER.c.id.desc())
    )
    by_id = {row["id"]: dict(row) for row in connection.execute(query).mappings()}
    return list(by_id.values())
