"""Outcomes can be excluded, with reasons, and finetune runs can keep theirs out of the ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "exclusions"
down_revision = "partly_loaded"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Plain statements: batch mode would drop and copy tables that other tables refer to.
    op.add_column(
        "finetune_runs", sa.Column("record_outcome", sa.Boolean(), nullable=False, server_default=sa.true())
    )
    op.add_column("ledger", sa.Column("excluded", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("ledger", sa.Column("exclusions", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Excluded outcomes count again, since the revision before knows no exclusion."""
    op.drop_column("ledger", "exclusions")
    op.drop_column("ledger", "excluded")
    op.drop_column("finetune_runs", "record_outcome")
