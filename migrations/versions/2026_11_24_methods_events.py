"""The method of a ranking's finetune runs, options of methods, and events of jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

USED_SO_FAR = "ac_norm"  # the only method that rankings could ask for at the revision before


def upgrade() -> None:
    # Plain statements: batch mode would drop and copy tables that other tables refer to.
    op.add_column("rankings", sa.Column("finetune_method", sa.Text(), nullable=False, server_default=USED_SO_FAR))
    op.add_column("finetune_runs", sa.Column("options", sa.JSON(), nullable=False, server_default="{}"))
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
    op.drop_column("finetune_runs", "options")
    op.drop_column("rankings", "finetune_method")
