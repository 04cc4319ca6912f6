"""Rankings have a tolerance and a risk, by which their answer is decided."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "terms"
down_revision = "trainings"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rankings", sa.Column("tolerance", sa.Double(), nullable=True))
    op.add_column("rankings", sa.Column("risk", sa.Double(), nullable=False, server_default="0.2"))


def downgrade() -> None:
    op.drop_column("rankings", "risk")
    op.drop_column("rankings", "tolerance")
