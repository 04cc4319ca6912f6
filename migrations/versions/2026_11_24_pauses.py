"""A lost job waits before it is tried again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "pauses"
down_revision = "spread"
branch_labels = None
depends_on = None

_TABLES = ("datasets", "checkpoints", "evaluations", "finetune_runs")


def upgrade() -> None:
    """Add the time before which a row is not tried again."""
    for table in _TABLES:
        op.add_column(table, sa.Column("not_before", sa.Double(), nullable=True))


def downgrade() -> None:
    """Forget the pauses."""
    for table in _TABLES:
        op.drop_column(table, "not_before")
