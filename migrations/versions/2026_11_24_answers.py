"""Answers as stored revisions, and the changes of the ledger by number."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "answers"
down_revision = "exclusions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Three new tables; no ranking that ended before has a stored answer, and none is due."""
    op.add_column("rankings", sa.Column("answer_due_at", sa.Double(), nullable=True))
    op.create_index(op.f("ix_rankings_answer_due_at"), "rankings", ["answer_due_at"])
    op.create_table(
        "answer_revisions",
        sa.Column("ranking_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("ledger_revision", sa.Integer(), nullable=False),
        sa.Column("holds_until", sa.Integer(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["ranking_id"], ["rankings.id"], name=op.f("fk_answer_revisions_ranking_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("ranking_id", "number", name=op.f("pk_answer_revisions")),
    )
    op.create_table(
        "ledger_changes",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("change", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_ledger_changes")),
    )
    revision_row = op.create_table(
        "ledger_revision",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_revision")),
    )
    op.bulk_insert(revision_row, [{"id": 1, "number": 0}])


def downgrade() -> None:
    """The stored answers are lost; the rows that they were derived from stay."""
    op.drop_table("ledger_revision")
    op.drop_table("ledger_changes")
    op.drop_table("answer_revisions")
    op.drop_index(op.f("ix_rankings_answer_due_at"), table_name="rankings")
    op.drop_column("rankings", "answer_due_at")
