"""An outcome keeps the id of its finetune run when the run is removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "trainings"
down_revision = "notes"
branch_labels = None
depends_on = None

_KEY = "fk_ledger_finetune_run_id"
_LEDGER = sa.table("ledger", sa.column("finetune_run_id", sa.Text()))
_RUNS = sa.table("finetune_runs", sa.column("id", sa.Text()))


def upgrade() -> None:
    """Outcomes whose run was removed before this have no id, and are still told apart by what they share."""
    with op.batch_alter_table("ledger") as ledger:  # no other table refers to it, so it may be copied
        ledger.drop_constraint(op.f(_KEY), type_="foreignkey")


def downgrade() -> None:
    """Outcomes of removed runs lose the id, since the revision before refers to runs that are there."""
    column = _LEDGER.c.finetune_run_id
    op.execute(sa.update(_LEDGER).where(column.not_in(sa.select(_RUNS.c.id))).values(finetune_run_id=None))
    with op.batch_alter_table("ledger") as ledger:
        ledger.create_foreign_key(op.f(_KEY), "finetune_runs", ["finetune_run_id"], ["id"])
