"""The ledger's rows: imported over HTTP and from files, added by finetune runs, deleted by source."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import event, text

from service.api.outcomes.schemas import MOST_ROWS
from service.client.rows import BrokenRowsError, read_long_rows
from service.jobs import ending, requests
from service.jobs.claims import LeaseLostError, claim
from service.ledger import own_outcomes
from service.settings import Settings
from service.store import migrate
from service.store.contents import FinetuneResult
from service.store.dict_form import read
from service.store.outcomes import OWN
from service.store.session import engine, reading, transaction
from service.store.tables import Checkpoint, Dataset, FinetuneRun, LedgerRow
from tests.conftest import TestClient
from tests.service.conftest import DEFAULT_FINETUNE, add_checkpoint, add_dataset, finish_run

ROW = {
    "target": "discs",
    "candidate": "vessels",
    "kind": "outcome",
    "name": "dice",
    "value": 0.5,
    "higher_is_better": True,
}


def post(client: TestClient, *rows: dict[str, Any], source: str | None = "paper") -> Any:
    return client.post("/v1/outcomes", json={"source": source, "rows": [{**ROW, **row} for row in rows]})


def stored(client: TestClient, **filters: str) -> list[dict[str, Any]]:
    return client.get("/v1/outcomes", params=filters).json()["items"]


def test_rows_are_added_once_and_replaced_by_another_value(client: TestClient) -> None:
    first = post(client, {}, {"seed": 1}, {"kind": "score", "name": "logme", "value": -1.5})
    assert first.json() == {"added": 3, "replaced": 0, "unchanged": 0}
    again = post(client, {}, {"seed": 1, "value": 0.75}, {"candidate": "lesions"}, {"candidate": "lesions"})
    assert again.json() == {"added": 1, "replaced": 1, "unchanged": 2}
    values = {(row["candidate"], row["kind"], row["seed"]): row["value"] for row in stored(client)}
    assert values == {
        ("vessels", "outcome", None): 0.5,
        ("vessels", "outcome", 1): 0.75,
        ("vessels", "score", None): -1.5,
        ("lesions", "outcome", None): 0.5,
    }


def test_names_are_linked_when_they_are_registered(client: TestClient) -> None:
    post(client, {"task": "segmentation"})
    (row,) = stored(client)
    assert (row["registered_target"], row["registered_candidate"], row["finetune_run"]) == (None, None, None)
    assert row["source"] == "paper"
    assert row["comparison_group"] == {"id": "paper", "words": "imported from paper"}
    with transaction() as session:
        dataset, checkpoint = add_dataset(session, "discs").id, add_checkpoint(session, "vessels").id
    (row,) = stored(client)
    assert (row["registered_target"], row["registered_candidate"]) == (dataset, checkpoint)


def test_lists_filter_and_page(client: TestClient) -> None:
    post(client, *({"candidate": f"c{number}"} for number in range(5)))
    post(client, {"kind": "score", "name": "logme"}, source="other")
    assert len(stored(client, source="paper")) == 5
    assert [row["name"] for row in stored(client, kind="score")] == ["logme"]
    assert len(stored(client, candidate="c3")) == 1
    assert stored(client, target="elsewhere") == []
    page = client.get("/v1/outcomes", params={"limit": 4}).json()
    rest = client.get("/v1/outcomes", params={"limit": 4, "after": page["next"]}).json()
    assert (len(page["items"]), len(rest["items"]), rest["next"]) == (4, 2, None)


def test_an_import_is_taken_back_by_its_source(client: TestClient) -> None:
    post(client, {})
    post(client, {}, source="other")
    assert client.delete("/v1/outcomes", params={"source": "paper"}).json() == {"removed": 1}
    assert [row["source"] for row in stored(client)] == ["other"]
    refused = client.delete("/v1/outcomes", params={"source": OWN})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "source")


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        ([{}, {"value": "high"}], "rows.1.value"),
        ([{"value": True}], "rows.0.value"),
        ([{"value": None}], "rows.0.value"),
        ([{"target": ""}], "rows.0.target"),
        ([{"candidate": "a\x00b"}], "rows.0.candidate"),
        ([{"candidate": " vessels"}], "rows.0.candidate"),
        ([{"target": "  "}], "rows.0.target"),
        ([{"name": "dice\n"}], "rows.0.name"),
        ([{"source": "paper "}], "rows.0.source"),
        ([{"value": 10**400}], "rows.0.value"),
        ([{"value": -1e308}], "rows.0.value"),
        ([{}, {"candidate": "lesions", "higher_is_better": False}], "rows.1.higher_is_better"),
        ([{"seed": True}], "rows.0.seed"),
        ([{}, {}, {"higher_is_better": False}], "rows.2.higher_is_better"),
        ([{"kind": "guess"}], "rows.0.kind"),
        ([{"higher_is_better": "yes"}], "rows.0.higher_is_better"),
        ([{"task": "detection"}], "rows.0.task"),
        ([{"seed": -1}], "rows.0.seed"),
        ([{"colour": "red"}], "rows.0.colour"),
        ([{"source": OWN}], "rows.0.source"),
        ([{}, {"value": 0.6}], "rows.1.value"),
        ([{"cohort": "A"}, {"cohort": "B", "seed": 1}], "rows.1.cohort"),
        ([{"target": "known", "modality": "CT"}], "rows.0.modality"),
        ([], "rows"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_stored(
    sqlite_client: TestClient, rows: list[dict[str, Any]], field: str
) -> None:
    with transaction() as session:
        add_dataset(session, "known", modality="MR")
    answer = post(sqlite_client, *rows)
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]
    assert answer.json()["errors"][0]["remedy"]
    assert stored(sqlite_client) == []


def test_one_bad_row_among_good_ones_stores_none_of_them(client: TestClient) -> None:
    with transaction() as session:
        add_dataset(session, "known", modality="MR")
    good = [{"candidate": f"c{number}"} for number in range(20)]
    for bad in ({"value": None}, {"target": "known", "modality": "CT"}, {"candidate": "c3", "value": 0.1}):
        answer = post(client, *good, bad)
        assert (answer.status_code, stored(client)) == (422, [])
        assert answer.json()["errors"][0]["field"].startswith("rows.20.")
    assert post(client, *good, {"target": "known", "modality": "MR"}).json()["added"] == 21


def test_a_repeat_under_its_key_gets_the_first_answer(client: TestClient) -> None:
    body, key = {"source": "paper", "rows": [ROW]}, {"Idempotency-Key": "k"}
    first = client.post("/v1/outcomes", json=body, headers=key)
    again = client.post("/v1/outcomes", json=body, headers=key)
    assert first.json() == again.json() == {"added": 1, "replaced": 0, "unchanged": 0}
    assert again.headers["Idempotent-Replayed"] == "true"
    assert client.post("/v1/outcomes", json=body).json() == {"added": 0, "replaced": 0, "unchanged": 1}


def test_a_request_holds_as_many_rows_as_it_says(sqlite_client: TestClient) -> None:
    many = [
        {"candidate": f"{'a rather long name of a candidate ' * 3}{number}"} for number in range(MOST_ROWS + 1)
    ]
    more = post(sqlite_client, *many)
    assert (more.status_code, more.json()["errors"][0]["field"]) == (422, "rows")
    assert post(sqlite_client, *many[1:]).json() == {"added": MOST_ROWS, "replaced": 0, "unchanged": 0}


def test_of_very_many_faults_the_first_are_named(sqlite_client: TestClient) -> None:
    answer = post(sqlite_client, *({"seed": number, "kind": "guess"} for number in range(500)))
    errors = answer.json()["errors"]
    assert len(errors) == 51
    assert errors[49]["field"] == "rows.49.kind"
    assert "450 more" in errors[50]["message"]


def test_not_a_number_is_refused(sqlite_client: TestClient) -> None:
    body = json.dumps({"source": "paper", "rows": [{**ROW, "value": float("nan")}]})
    answer = sqlite_client.post("/v1/outcomes", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert stored(sqlite_client) == []


def test_rows_must_say_where_they_come_from(sqlite_client: TestClient) -> None:
    answer = post(sqlite_client, {"source": "notebook"}, {"seed": 1}, source=None)
    assert answer.json()["errors"][0]["field"] == "rows.1.source"
    reserved = post(sqlite_client, {}, source=OWN)
    assert reserved.json()["errors"][0]["field"] == "source"


def add_run(seed: int = 3) -> FinetuneRun:
    with transaction() as session:
        dataset = add_dataset(session, "discs", modality="fundus", cohort="clinic")
        run = FinetuneRun(
            dataset_id=dataset.id,
            checkpoint_id=add_checkpoint(session, "vessels").id,
            method="ac_norm",
            protocol=replace(DEFAULT_FINETUNE, seed=seed),
        )
        requests.add(session, run)
        return run


def add_toy_run() -> FinetuneRun:
    """A run of four steps of the same checkpoint on the same dataset."""
    with transaction() as session:
        run = FinetuneRun(
            dataset_id=session.query(Dataset).one().id,
            checkpoint_id=session.query(Checkpoint).one().id,
            method="vanilla",
            options={"share": 0.1},
            protocol=replace(DEFAULT_FINETUNE, epochs=1, steps=4),
        )
        requests.add(session, run)
        return run


RESULT = {
    "metrics": {"validation": {"dice": 0.1}, "test": {"dice": 0.8, "loss": 0.3, "average_precision": None}},
    "primary": "dice",
    "higher_is_better": {"dice": True, "average_precision": True, "loss": False},
    "cases": [0.7, 0.9, None],
}


def test_a_run_that_is_done_adds_its_test_metrics_once(client: TestClient) -> None:
    run = add_run()
    finish_run(run, RESULT)
    rows = {row["name"]: row for row in stored(client)}
    assert {name: (row["value"], row["higher_is_better"]) for name, row in rows.items()} == {
        "dice": (0.8, True),
        "loss": (0.3, False),
    }
    dice = rows["dice"]
    assert (dice["target"], dice["candidate"], dice["seed"], dice["method"]) == ("discs", "vessels", 3, "ac_norm")
    assert (dice["task"], dice["modality"], dice["cohort"]) == ("segmentation", "fundus", "clinic")
    assert (dice["source"], dice["finetune_run"]) == (OWN, run.id)
    with transaction() as session:
        own_outcomes.record(session, session.get_one(FinetuneRun, run.id))
    assert len(stored(client)) == 2
    with reading() as session:
        held = {row.name: row.cases for row in session.query(LedgerRow)}
    assert held == {"dice": [0.7, 0.9, None], "loss": None}


def test_runs_of_one_group_differ_in_their_seed_alone() -> None:
    one, other = (replace(DEFAULT_FINETUNE, seed=seed) for seed in (1, 2))
    group = own_outcomes.group_of("ac_norm", one)
    assert own_outcomes.group_of("ac_norm", other).id == group.id
    for changed in (
        own_outcomes.group_of("vanilla", one),
        own_outcomes.group_of("ac_norm", replace(one, learning_rate=1.0)),
        own_outcomes.group_of("ac_norm", one, {"share": 0.1}),
    ):
        assert changed.id != group.id


def test_an_own_outcome_says_how_it_was_trained(client: TestClient) -> None:
    finish_run(add_run(), RESULT)
    toy = add_toy_run()
    finish_run(toy, RESULT)
    groups = [row["comparison_group"] for row in stored(client, name="dice")]
    assert [group["words"] for group in groups] == [
        "vanilla, share 0.1, epochs 1, steps 4",
        "ac_norm, epochs 100",
    ]
    of_toy = stored(client, comparison_group=groups[0]["id"])
    assert {(row["name"], row["finetune_run"]) for row in of_toy} == {("dice", toy.id), ("loss", toy.id)}


def test_a_run_that_fails_or_lost_its_lease_adds_nothing(client: TestClient) -> None:
    run = add_run()
    with transaction() as session:
        held = claim(session, FinetuneRun, run.id, worker="slow")
        assert held is not None
        session.execute(text("UPDATE finetune_runs SET attempts = attempts + 1"))
    with pytest.raises(LeaseLostError), transaction() as session:
        ending.complete(session, held, state="done", result=read(FinetuneResult, RESULT))
    assert stored(client) == []
    with transaction() as session:
        session.execute(text("UPDATE finetune_runs SET attempts = attempts - 1"))
    with transaction() as session:
        ending.complete(session, held, state="failed", reason="out of memory")
    assert stored(client) == []


def test_a_database_with_finished_runs_gets_their_outcomes_when_it_is_upgraded(client: TestClient) -> None:
    run = add_run()
    finish_run(run, {key: value for key, value in RESULT.items() if key != "primary"})
    expected = {row["name"]: {**row, "id": "", "created_at": ""} for row in stored(client)}
    with engine().begin() as connection:
        config = migrate.alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        command.upgrade(config, "head")
    found = {row["name"]: {**row, "id": "", "created_at": ""} for row in stored(client)}
    assert found == expected
    with transaction() as session:
        own_outcomes.record(session, session.get_one(FinetuneRun, run.id))  # the keys are the same too
        assert session.query(LedgerRow).filter_by(name="dice").one().cases == RESULT["cases"]
    assert len(stored(client)) == 2


@pytest.mark.parametrize("source", ["", "a\x00b", "x" * 501])
def test_a_source_that_none_can_be_is_refused(client: TestClient, source: str) -> None:
    answer = client.delete("/v1/outcomes", params={"source": source})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "source")
    assert client.delete("/v1/outcomes").json()["errors"][0]["field"] == "source"


def test_the_largest_values_are_summed_up(client: TestClient) -> None:
    rows = ({"candidate": f"c{number % 3}", "seed": number, "value": 1e100} for number in range(6))
    assert post(client, *rows).status_code == 200
    assert client.get("/v1/agreement").status_code == 200


def test_the_lower_is_better_for_the_same_metrics_after_an_upgrade(client: TestClient) -> None:
    run = add_run()
    with transaction() as session:
        session.execute(text("UPDATE datasets SET task = 'regression'"))
    result = {"metrics": {"test": {"r2": 0.5, "mean_absolute_error_0": 2.5, "loss": 0.1}}, "cases": [0.1]}
    expected = {"r2": True, "mean_absolute_error_0": False, "loss": False}
    finish_run(run, {**result, "primary": "r2", "higher_is_better": expected})
    assert {row["name"]: row["higher_is_better"] for row in stored(client)} == expected
    with engine().begin() as connection:
        config = migrate.alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        command.upgrade(config, "head")
    assert {row["name"]: row["higher_is_better"] for row in stored(client)} == expected
    with reading() as session:
        assert session.query(LedgerRow).filter_by(name="r2").one().cases == [0.1]


def test_names_are_looked_up_all_at_once(sqlite_client: TestClient) -> None:
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(engine(), "before_cursor_execute", note)
    assert post(sqlite_client, *({"target": f"t{number}"} for number in range(400))).status_code == 200
    imported = len(asked)
    assert sqlite_client.get("/v1/outcomes", params={"limit": 100}).json()["items"]
    event.remove(engine(), "before_cursor_execute", note)
    assert imported < 20
    assert len(asked) - imported < 20


HEADER = "target,candidate,kind,name,value,higher_is_better,seed,cohort\n"


def test_long_rows_are_read_from_csv_and_json(tmp_path: Path, configured: Settings) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(
        "\ufeff" + HEADER + 'x,"a, b",outcome,auc,0.5,yes,,\n\nx,c,outcome,auc,,true,,\nx,d,score,hd,2,0,7,A\n'
    )
    assert read_long_rows(path).rows == [
        {
            "target": "x",
            "candidate": "a, b",
            "kind": "outcome",
            "name": "auc",
            "value": 0.5,
            "higher_is_better": True,
        },
        {
            "target": "x",
            "candidate": "d",
            "kind": "score",
            "name": "hd",
            "value": 2.0,
            "higher_is_better": False,
            "seed": 7,
            "cohort": "A",
        },
    ]
    listed = tmp_path / "rows.json"
    listed.write_text(json.dumps([ROW, {**ROW, "value": None}]))
    assert read_long_rows(listed).rows == [ROW]


def test_whole_seeds_may_be_written_as_fractions_and_cells_may_hold_odd_spaces(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(HEADER + "x\x85y, a ,outcome,auc,1,true,3.0,\r\n")
    [row] = read_long_rows(path).rows
    assert (row["target"], row["candidate"], row["seed"]) == ("x\x85y", "a", 3)
    assert type(row["seed"]) is int


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "lacks target"),
        (HEADER, "no row with a value"),
        (HEADER.replace("seed", "sed"), "unknown sed"),
        (HEADER.replace("cohort", "seed"), "repeats seed"),
        (HEADER + "x,a,outcome,auc,high,true,,\n", "line 2: value is 'high'"),
        (HEADER + "x,a,outcome,auc,1,true,1.5,\n", "line 2: seed is '1.5'"),
        (HEADER + "x,a,outcome,auc,1,maybe,,\n", "line 2: higher_is_better"),
        (HEADER + "x,a,outcome,auc,1\n", "line 2: 5 cells for 8 columns"),
        (HEADER + "x,a,outcome,auc,1_0,true,,\n", "line 2: value is '1_0'"),
        (HEADER + ",a,outcome,auc,1,true,,\n", "line 2: target is empty"),
        (HEADER + "x,a,outcome,auc,1,,,\n", "line 2: higher_is_better is empty"),
        (HEADER + 'x,a,outcome,auc,1,true,,\n"x\ny",a,outcome,auc,high,true,,\n', "line 3: value is 'high'"),
        (HEADER + "\nx,a,outcome,auc,nan,true,,\n", "line 3: value is 'nan'; write a finite number"),
        (HEADER + "x,a,outcome,auc,-1e999,true,,\n", "line 2: value is '-1e999'; write a finite number"),
        (HEADER + "x,a,outcome,auc,1,true,inf,\n", "line 2: seed is 'inf'; write a whole number"),
        (HEADER + '"x\ny",a,outcome,auc,1,true,,\nx,a,outcome,auc,high,true,,\n', "line 4: value is 'high'"),
        (HEADER + '"x,a,outcome,auc,1,true,,\n', "line 2: .*close every quote"),
        (HEADER + "x" * 200_000 + ",a,outcome,auc,1,true,,\n", "line 2: .*field limit"),
        (HEADER.replace(",", ";"), "line 1: the columns are not separated by commas"),
        (HEADER.replace(",", "\t"), "line 1: the columns are not separated by commas"),
    ],
)
def test_a_broken_file_names_line_column_and_remedy(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(content)
    with pytest.raises(BrokenRowsError, match=words):
        read_long_rows(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "JSON list"),
        ('{"a": 1}', "list of objects"),
        ("[1]", "list"),
        ('[{"value": NaN}]', "NaN is no JSON number; give a JSON list"),
        ("[" * 100_000, "JSON list"),
    ],
    ids=["half", "object", "numbers", "NaN", "deep"],
)
def test_a_broken_json_file_is_named(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(content)
    with pytest.raises(BrokenRowsError, match=words):
        read_long_rows(path)


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with pytest.raises(BrokenRowsError, match=r"rows\.csv"):
        read_long_rows(path)
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(BrokenRowsError, match="UTF-8"):
        read_long_rows(path)
