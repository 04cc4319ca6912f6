"""The spread of scores that depend on random starts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "spread"
down_revision = "ranking_groups"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("scores", sa.Column("spread", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("scores", "spread")
