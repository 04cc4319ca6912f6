"""A ranking can name the comparison group whose outcomes count."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "ranking_groups"
down_revision = "answers"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rankings", sa.Column("comparison_group", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("rankings", "comparison_group")
