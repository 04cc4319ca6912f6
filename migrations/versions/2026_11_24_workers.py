"""Which workers are alive, and when the last sweep began."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "workers"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two new tables; the sweep's one row says that there was none yet."""
    op.create_table(
        "workers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("devices", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("stopped_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    sweeps = op.create_table(
        "sweeps",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("began_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweeps")),
    )
    op.bulk_insert(sweeps, [{"id": 1, "began_at": 0.0}])


def downgrade() -> None:
    """Nothing of these tables is kept."""
    op.drop_table("sweeps")
    op.drop_table("workers")
