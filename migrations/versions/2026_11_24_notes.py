"""Rankings and finetune runs can have a note of the user's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "notes"
down_revision = "card_spacing"
branch_labels = None
depends_on = None

_TABLES = ("rankings", "finetune_runs")


def upgrade() -> None:
    for table in _TABLES:
        op.add_column(table, sa.Column("note", sa.Text(), nullable=True))


def downgrade() -> None:
    for table in _TABLES:
        op.drop_column(table, "note")
