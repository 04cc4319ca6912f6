"""Which row is worked on next: a message says that work waits, the database says which row is first in line."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Select, and_, literal, or_, select, union_all

from service.jobs import widths
from service.jobs.claims import may_start
from service.jobs.kinds import KINDS
from service.store.session import Session
from service.store.tables import Checkpoint, Dataset, Evaluation, FinetuneRun, Ranking, Worked, WorkState

# What takes seconds goes before what takes minutes or hours; within each of the two the oldest row is first.
QUICK: Collection[type[Worked]] = (Dataset, Checkpoint)
NO_HOST = ""  # no row runs there, so a suspect row may be first
Line = Select[Any]
Place = tuple[type[Worked], str]  # table and id of a row


def first(session: Session, *, host: str, passed: Collection[str] = ()) -> Place | None:
    """Table and id of the row that is first in line for a process of this host; None when no row can be taken.

    `passed` are left out. A suspect row, whose own fault may have ended a process before, runs alone on a host: it
    waits until the others there have ended, and none is taken while it waits or runs.
    """
    tables = {kind.table.job: kind.table for kind in KINDS}
    unready = widths.unready(session)
    line = union_all(*(_waiting(table, passed, unready) for table in tables.values())).subquery()
    query = select(line.c.job, line.c.id, line.c.suspect).order_by(line.c.place, line.c.created_at, line.c.id)
    row = session.execute(query.limit(1)).first()
    if row is None:
        return None
    running = _faults_of_running(session, tables.values(), host)
    if running and (row.suspect or max(running) > 0):
        return None
    return tables[row.job], row.id


def _waiting(table: type[Worked], passed: Collection[str], unready: Collection[str]) -> Line:
    """The queued rows of a table whose needs were met, or can't be met any more.

    unready: ids of the rankings whose evaluations wait for a preflight of another candidate.
    """
    place = literal(int(table not in QUICK)).label("place")
    suspect = (table.attempts > table.releases).label("suspect")
    columns: list[Any] = [literal(table.job).label("job"), table.id, place, table.created_at, suspect]
    rows: Line = select(*columns).where(table.state == WorkState.QUEUED, may_start(table), table.id.not_in(passed))
    if table is Evaluation:
        return _needs_of_evaluation(rows, unready)
    return _needs_of_run(rows) if table is FinetuneRun else rows


def _faults_of_running(session: Session, tables: Collection[type[Worked]], host: str) -> list[int]:
    """For every row that runs on this host, the number of processes that its own faults may have ended."""
    counts = [
        select(table.attempts - table.releases - 1)
        .where(table.state == WorkState.RUNNING)
        .where(table.worker.startswith(f"{host}:", autoescape=True))
        for table in tables
    ]
    return list(session.scalars(union_all(*counts)))


def _needs_of_evaluation(rows: Line, unready: Collection[str]) -> Line:
    rows = _settled(rows.join(Ranking, Evaluation.ranking_id == Ranking.id), Ranking, Evaluation)
    return rows.where(or_(Ranking.id.not_in(unready), Checkpoint.state == WorkState.FAILED))


def _needs_of_run(rows: Line) -> Line:
    return _settled(rows, FinetuneRun, FinetuneRun)


def _settled(
    rows: Line, has_dataset: type[Ranking | FinetuneRun], has_checkpoint: type[Evaluation | FinetuneRun]
) -> Line:
    rows = rows.join(Dataset, has_dataset.dataset_id == Dataset.id)
    rows = rows.join(Checkpoint, has_checkpoint.checkpoint_id == Checkpoint.id)
    done = and_(Dataset.state == WorkState.DONE, Checkpoint.state == WorkState.DONE)
    return rows.where(or_(done, Dataset.state == WorkState.FAILED, Checkpoint.state == WorkState.FAILED))
