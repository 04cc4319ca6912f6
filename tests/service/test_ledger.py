"""The promises of the ledger: what makes a row another one, and that nothing is there twice or by halves."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from alembic import command
from sqlalchemy import select, text, update
from sqlalchemy.exc import DatabaseError

from service.api.names import ID_PATTERN
from service.jobs import ending, requests
from service.jobs.claims import Claim, LeaseLostError
from service.jobs.work import claim_finetune_run
from service.store import migrate, outcomes
from service.store.contents import FinetuneResult
from service.store.dict_form import read
from service.store.outcomes import Imported
from service.store.session import reading, transaction
from service.store.tables import FinetuneRun, LedgerRow
from tests.service.conftest import DEFAULT_FINETUNE, add_checkpoint, add_dataset

pytestmark = pytest.mark.usefixtures("configured")

TEST = {"dice": 0.8, "average_precision": 0.7, "loss": 0.4}
RESULT = {
    "metrics": {"test": TEST, "validation": {"dice": 0.9}},
    "cases": [0.7, None, 0.9],
    "primary": "dice",
    "higher_is_better": {"dice": True, "average_precision": True, "loss": False},
    "network_file": "x",
}
PROTOCOL = replace(DEFAULT_FINETUNE, seed=3, epochs=4)


def row(**more: Any) -> LedgerRow:
    """An outcome of another lab."""
    values = {"kind": "outcome", "target": "discs", "candidate": "vessels", "name": "dice", "value": 0.5}
    return LedgerRow(
        **{**values, "higher_is_better": True, "source": "Lab 2025", "comparison_group": "Lab 2025", **more}
    )


def add(*rows: LedgerRow) -> Imported:
    with transaction() as session:
        return outcomes.add(session, rows)


def rows() -> list[LedgerRow]:
    with reading() as session:
        return list(session.scalars(select(LedgerRow).order_by(LedgerRow.id)))


def start_run(name: str = "a", **more: Any) -> Claim:
    """A finetune run that a worker claimed, on a dataset and a checkpoint of their own."""
    with transaction() as session:
        dataset = add_dataset(session, f"d-{name}", cohort="clinic A", modality="fundus")
        checkpoint = add_checkpoint(session, name)
        values = {"method": "ac_norm", "protocol": PROTOCOL, **more}
        run = FinetuneRun(dataset_id=dataset.id, checkpoint_id=checkpoint.id, **values)
        requests.add(session, run)
        work = claim_finetune_run(session, run.id, worker="w")
    assert work is not None
    return work.claim


def end(held: Claim, result: dict[str, Any] | None = None, *, state: str = "done") -> None:
    with transaction() as session:
        ending.complete(
            session, held, state=state, result=read(FinetuneResult, RESULT if result is None else result)
        )


@pytest.mark.parametrize(
    "change",
    [{"value": 0.6}, {"higher_is_better": False}, {"cohort": "B"}, {"modality": "oct"}, {"task": "segmentation"}],
    ids=str,
)
def test_an_equal_key_takes_what_the_new_row_says(change: dict[str, Any]) -> None:
    add(row())
    assert add(row(**change)) == Imported(0, 1, 0)
    assert add(row(**change)) == Imported(0, 0, 1)
    [found] = rows()
    assert {name: getattr(found, name) for name in change} == change


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "score"},
        {"target": "cups"},
        {"candidate": "lesions"},
        {"name": "auc"},
        {"seed": 0},
        {"source": "Lab 2026"},
        {"method": "vanilla"},
    ],
    ids=str,
)
def test_whatever_identifies_a_row_makes_another_one(change: dict[str, Any]) -> None:
    add(row())
    assert add(row(**change)) == Imported(1, 0, 0)
    assert len({one.key for one in rows()}) == 2


def test_what_an_import_leaves_out_stays() -> None:
    add(row(cohort="A", modality="oct", task="segmentation"))
    assert add(row()) == Imported(0, 0, 1)
    assert add(row(value=0.7)) == Imported(0, 1, 0)
    [found] = rows()
    assert (found.value, found.cohort, found.modality, found.task) == (0.7, "A", "oct", "segmentation")


def test_equal_rows_of_one_import_are_one() -> None:
    assert add(row(), row()) == Imported(1, 0, 1)
    assert len(rows()) == 1


def test_many_rows_are_one_import() -> None:
    many = [row(candidate=f"c{number}", value=number / 7, seed=2**32 - 1) for number in range(20_000)]
    start = time.monotonic()
    assert add(*many) == Imported(20_000, 0, 0)
    assert add(*(row(candidate=f"c{number}", value=number / 7, seed=2**32 - 1) for number in range(20_000))) == (
        Imported(0, 0, 20_000)
    )
    assert time.monotonic() - start < 60
    with reading() as session:
        last = session.scalar(select(LedgerRow.value).where(LedgerRow.candidate == "c19999"))
    assert last == 19_999 / 7


def test_simultaneous_imports_of_the_same_rows_add_them_once() -> None:
    def one(number: int) -> Imported:
        names = [f"c{index}" for index in range(50)]
        return add(*(row(candidate=name) for name in (names if number % 2 else reversed(names))))

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(one, range(8)))
    assert (sum(part.added for part in found), sum(part.unchanged for part in found)) == (50, 350)
    assert len(rows()) == 50


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"metrics": {"validation": {"dice": 0.9}}, "cases": [], "primary": "dice"}, {}),
        ({"network_file": "x"}, {}),
        ({"metrics": {"test": {"dice": None, "loss": 1.5}}, "cases": [None], "primary": "dice"}, {"loss": None}),
        (
            {"metrics": {"test": {"accuracy": 0.5, "auc": 0.6}}, "cases": [1.0, 0.0], "primary": "accuracy"},
            {"accuracy": [1.0, 0.0], "auc": None},
        ),
        ({"metrics": {"test": {"dice": 1, "loss": 0.1}}}, {"dice": None, "loss": None}),
    ],
    ids=["no test split", "no metrics", "an undefined metric", "classification", "no cases"],
)
def test_what_a_result_holds_decides_its_rows(result: dict[str, Any], expected: dict[str, Any]) -> None:
    end(start_run(), result)
    assert {one.name: one.cases for one in rows()} == expected


def test_a_worker_that_lost_its_lease_adds_nothing_and_a_run_ends_once() -> None:
    stale = start_run()
    with transaction() as session:
        session.execute(update(FinetuneRun).values(lease_until=1.0))
    with transaction() as session:
        work = claim_finetune_run(session, stale.id, worker="v")
    assert work is not None
    late = {**RESULT, "metrics": {"test": {"dice": 0.1, "late": 0.2}}}
    with pytest.raises(LeaseLostError):
        end(stale, late)
    assert rows() == []
    end(work.claim)
    end(work.claim, late)  # as after a lost answer to the first
    with pytest.raises(LeaseLostError):
        end(stale, late)
    assert {one.name: one.value for one in rows()} == TEST


def test_a_run_whose_rows_cannot_be_written_is_not_done() -> None:
    held = start_run()
    with transaction() as session:
        session.execute(text("ALTER TABLE ledger RENAME TO elsewhere"))
    with pytest.raises(DatabaseError):
        end(held)
    with reading() as session:
        assert session.get_one(FinetuneRun, held.id).state == "running"
    with transaction() as session:
        session.execute(text("ALTER TABLE elsewhere RENAME TO ledger"))
    end(held)
    assert len(rows()) == 3


def test_a_migration_dates_the_rows_of_earlier_runs_by_their_end() -> None:
    for name, ended in (("late", 1_700_000_009.5), ("early", 1_700_000_000.25)):
        held = start_run(name)
        end(held, {"metrics": {"test": {"dice": 0.25}}})
        with transaction() as session:
            session.get_one(FinetuneRun, held.id).finished_at = ended
    command.downgrade(migrate.alembic_config(), "0001")
    command.upgrade(migrate.alembic_config(), "head")
    found = rows()  # by id
    assert [(one.candidate, one.created_at) for one in found] == [
        ("early", 1_700_000_000.25),
        ("late", 1_700_000_009.5),
    ]
    assert all(re.fullmatch(ID_PATTERN, one.id) for one in found)
