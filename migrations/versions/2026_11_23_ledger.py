"""The ledger, and the outcomes of runs that are done already."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("candidate", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("higher_is_better", sa.Boolean(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("method", sa.Text(), nullable=True),
        sa.Column("course", sa.Text(), nullable=False),
        sa.Column("cohort", sa.Text(), nullable=True),
        sa.Column("modality", sa.Text(), nullable=True),
        sa.Column("task", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("finetune_run_id", sa.Text(), nullable=True),
        sa.Column("cases", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["finetune_run_id"], ["finetune_runs.id"], name=op.f("fk_ledger_finetune_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger")),
        sa.UniqueConstraint("key", name=op.f("uq_ledger_key")),
    )
    with op.batch_alter_table("ledger", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_ledger_candidate"), ["candidate"], unique=False)
        batch_op.create_index(batch_op.f("ix_ledger_target"), ["target"], unique=False)
    _add_outcomes(op.get_bind())


def downgrade() -> None:
    with op.batch_alter_table("ledger", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_ledger_target"))
        batch_op.drop_index(batch_op.f("ix_ledger_candidate"))
    op.drop_table("ledger")


# What the tables were at this revision, as far as it is read here.
_RUNS = sa.table(
    "finetune_runs",
    sa.column("id", sa.Text()),
    sa.column("dataset_id", sa.Text()),
    sa.column("checkpoint_id", sa.Text()),
    sa.column("state", sa.Text()),
    sa.column("method", sa.Text()),
    sa.column("protocol", sa.JSON()),
    sa.column("result", sa.JSON()),
    sa.column("finished_at", sa.Double()),
)
_DATASETS = sa.table(
    "datasets", *(sa.column(name, sa.Text()) for name in ("id", "name", "task", "modality", "cohort"))
)
_CHECKPOINTS = sa.table("checkpoints", sa.column("id", sa.Text()), sa.column("name", sa.Text()))
_LEDGER = sa.table(
    "ledger",
    *(
        sa.column(name, sa.Text())
        for name in ("id", "key", "kind", "target", "candidate", "name", "method", "course", "source")
    ),
    *(sa.column(name, sa.Text()) for name in ("cohort", "modality", "task", "finetune_run_id")),
    sa.column("value", sa.Double()),
    sa.column("higher_is_better", sa.Boolean()),
    sa.column("seed", sa.BigInteger()),
    sa.column("cases", sa.JSON(none_as_null=True)),
    sa.column("created_at", sa.Double()),
)
_PRIMARY = {"segmentation": "dice", "classification": "accuracy", "regression": "r2", "multilabel": "auc"}


def _add_outcomes(connection: sa.Connection) -> None:
    query = (
        sa.select(
            _RUNS.c.id,
            _RUNS.c.method,
            _RUNS.c.protocol,
            _RUNS.c.result,
            _RUNS.c.finished_at,
            _DATASETS.c.name.label("target"),
            _DATASETS.c.task,
            _DATASETS.c.modality,
            _DATASETS.c.cohort,
            _CHECKPOINTS.c.name.label("candidate"),
        )
        .join_from(_RUNS, _DATASETS, _RUNS.c.dataset_id == _DATASETS.c.id)
        .join(_CHECKPOINTS, _RUNS.c.checkpoint_id == _CHECKPOINTS.c.id)
        .where(_RUNS.c.state == "done")
        .order_by(_RUNS.c.id)
    )
    for run in connection.execute(query).mappings().all():
        rows = list(_outcomes(run))
        if rows:
            connection.execute(sa.insert(_LEDGER), rows)


def _outcomes(run: sa.RowMapping) -> Iterator[dict[str, Any]]:
    """The rows that the run would have added when it ended, as of then: ids sort by creation."""
    result = run["result"] or {}
    protocol = {key: value for key, value in run["protocol"].items() if key != "seed"}
    course = json.dumps((run["method"], protocol), sort_keys=True)
    for metric, value in result.get("metrics", {}).get("test", {}).items():
        if value is None:
            continue
        held = result.get("cases") or None
        yield {
            "id": f"lg_{int(run['finished_at'] * 1000):011x}{secrets.token_hex(5)}",
            "key": hashlib.sha256(json.dumps((run["id"], metric)).encode()).hexdigest(),
            "kind": "outcome",
            "target": run["target"],
            "candidate": run["candidate"],
            "name": metric,
            "value": value,
            "higher_is_better": not metric.startswith(("loss", "mean_absolute_error")),
            "seed": run["protocol"].get("seed"),
            "method": run["method"],
            "course": hashlib.sha256(course.encode()).hexdigest()[:16],
            "cohort": run["cohort"],
            "modality": run["modality"],
            "task": run["task"],
            "source": "finetune run",
            "finetune_run_id": run["id"],
            "cases": held if metric == _PRIMARY.get(run["task"]) else None,
            "created_at": run["finished_at"],
        }
