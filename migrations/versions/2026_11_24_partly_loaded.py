"""Registrations that allow partial loading, and how a ranking orders candidates that are partly loaded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "partly_loaded"
down_revision = "comparison_groups"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "checkpoints", sa.Column("allow_partial", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    # A preflight of before took a file that holds half of the network's tensors. Those stay usable, and their
    # preflight says how much was loaded.
    checkpoints = sa.table("checkpoints", sa.column("state", sa.Text()), sa.column("allow_partial", sa.Boolean()))
    op.execute(checkpoints.update().where(checkpoints.c.state == "done").values(allow_partial=True))
    # A ranking of before keeps its order: it made no difference between its candidates.
    op.add_column("rankings", sa.Column("partly_loaded", sa.Text(), nullable=False, server_default="mixed"))


def downgrade() -> None:
    op.drop_column("rankings", "partly_loaded")
    op.drop_column("checkpoints", "allow_partial")
