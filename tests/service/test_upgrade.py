"""A database of the revision before: nothing is lost, and its lists stay the same before a worker starts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command

from service.api.app import create_app
from service.settings import Settings
from service.store import migrate, tables
from service.store.contents import FinetuneProtocol, FinetuneResult
from service.store.dict_form import VERSION, read
from service.store.session import engine, transaction
from tests.conftest import TestClient
from tests.service.conftest import CAPABILITIES, INSPECTION, PROTOCOL, publish

CARD = {
    "title": None,
    "source_task": "segmentation",
    "normalisation": {"scale": "unit", "mean": [], "std": []},
    "head": "softmax",
    "version": "2.1",
    "note": {"by": "me"},
    "origin": "hospital B",
    "file": 7,
    "nothing": None,
}
FINETUNE = CAPABILITIES["finetune_protocol"]["default"]
FACTS = {"flags": ["low_spread"], "width": 8, "losses": [0.5], "metrics": {"dice": 0.4}}
RECORD = {"N": 12, "layers": {"a": {"k": 1.5}}}
RESULT = {"metrics": {"test": {"dice": 0.5}}, "network_file": "x.safetensors"}
ENDED = {"state": "done", "attempts": 1, "releases": 0, "sent_at": 1.0, "steps_done": 0, "steps_total": 0}
ROWS: list[tuple[str, dict[str, Any]]] = [
    (
        "datasets",
        {"id": "ds_1", "name": "discs", "uri": "/d.npz", "task": "segmentation", "spatial_dims": 2, **ENDED}
        | {"inspection": INSPECTION, "created_at": 1.0},
    ),
    *(
        (
            "checkpoints",
            {"id": f"ck_{name}", "name": name, "uri": f"/{name}.pt", "architecture": "unet", "card": CARD, **ENDED}
            | {"parameters": {"spatial_dims": 2, "in_channels": 3, "classes": 2}, "created_at": 1.0},
        )
        for name in ("a", "b")
    ),
    (
        "rankings",
        {"id": "rk_1", "dataset_id": "ds_1", "measures": ["logme", "ac_corr"], "order_by": "logme"}
        | {"protocol": PROTOCOL, "finetune_protocol": FINETUNE, "finetune_top": 0, "created_at": 1.0},
    ),
    *(
        (
            "evaluations",
            {"id": f"ev_{name}", "ranking_id": "rk_1", "checkpoint_id": f"ck_{name}", "facts": FACTS, **ENDED}
            | {"created_at": 1.0},
        )
        for name in ("a", "b")
    ),
    *(
        (
            "scores",
            {"evaluation_id": f"ev_{name}", "measure": measure, "value": value, "seconds": 1.0, "flags": flags}
            | {"record": RECORD},
        )
        for name, measure, value, flags in (
            ("a", "logme", 1.0, ["retired_flag"]),
            ("a", "knn", 1.0, ["saturated"]),
            ("b", "knn", 2.0, ["failed"]),
            ("a", "nce", 1.0, ["not_applicable"]),
            ("b", "logme", 2.0, []),
            ("a", "ac_corr", 2.0, ["degenerate"]),
            ("b", "ac_corr", 1.0, []),
        )
    ),
    (
        "finetune_runs",
        {
            "id": "ft_1",
            "dataset_id": "ds_1",
            "checkpoint_id": "ck_a",
            "ranking_id": "rk_1",
            "method": "vanilla",
            **ENDED,
        }
        | {"protocol": FINETUNE, "result": RESULT, "created_at": 1.0},
    ),
    ("capabilities", {"kind": "protocol", "name": "ranking", "body": PROTOCOL}),
    ("capabilities", {"kind": "protocol", "name": "finetune", "body": FINETUNE}),
]
NEVER_STORED = [("checkpoints", "preflight"), ("ledger", "exclusions")]  # by the rows above
COLUMNS = [
    (table.name, column.name)
    for table in tables.Base.metadata.tables.values()
    for column in table.columns
    if isinstance(column.type, tables.Content)
    and table.name not in ("answer_revisions", "comparison_groups")  # tables without a row at that revision
    and (table.name, column.name) not in NEVER_STORED
]
OUTCOMES = [
    ("accuracy", {"a": 0.1, "b": 0.9}),
    ("dice", {"a": 0.7, "b": 0.6}),
]


def _insert(table: str, values: dict[str, Any]) -> None:
    metadata = sa.MetaData()
    columns = sa.Table(table, metadata, autoload_with=engine())
    with engine().begin() as connection:
        connection.execute(columns.insert().values(**values))


def _own_outcome() -> dict[str, Any]:
    """What the run ft_1 added to the ledger."""
    own = {"source": "finetune run", "course": "0123456789abcdef", "finetune_run_id": "ft_1"}
    return {**_outcome("dice", "a", 0.2), "id": "lg_1", "key": "lg_1", **own}


def _outcome(metric: str, candidate: str, value: float) -> dict[str, Any]:
    where = {"kind": "outcome", "target": "discs", "candidate": candidate, "source": "a paper", "course": "import"}
    number = f"lg_{metric}_{candidate}"
    return {"id": number, "key": number, "name": metric, "value": value, "higher_is_better": True, **where} | {
        "created_at": 1.0
    }


@pytest.fixture
def upgraded(configured: Settings) -> Iterator[TestClient]:
    """A client on rows of the revision before, upgraded, with no worker since."""
    command.downgrade(migrate.alembic_config(), "0002")
    for table, values in ROWS:
        _insert(table, values)
    for metric, outcomes in OUTCOMES:
        for candidate, value in outcomes.items():
            _insert("ledger", _outcome(metric, candidate, value))
    _insert("ledger", _own_outcome())
    migrate.upgrade()
    with TestClient(create_app(), raise_server_exceptions=False) as own:
        yield own


def test_checkpoints_and_rankings_keep_what_they_had(upgraded: TestClient) -> None:
    """A checkpoint was taken from half of its tensors on, and a ranking made no difference between them."""
    assert upgraded.get("/v1/checkpoints/a").json()["allow_partial"] is True
    assert upgraded.get("/v1/rankings/rk_1").json()["partly_loaded"] == "mixed"


def test_every_entry_of_a_card_is_still_there(upgraded: TestClient) -> None:
    card = upgraded.get("/v1/checkpoints/a").json()["card"]
    limits = {"clip": [], "window": [], "percentiles": [], "nonzero": False}
    assert {name: card[name] for name in CARD} == {**CARD, "normalisation": {**CARD["normalisation"], **limits}}


def test_a_spacing_that_a_card_had_is_used_where_it_is_one_and_else_kept(configured: Settings) -> None:
    command.downgrade(migrate.alembic_config(), "pauses")
    given: dict[str, Any] = {"a": [0.5, 0.5], "b": "half a millimetre", "c": [0.5]}
    for name, spacing in given.items():
        card = {"title": None, "more": {"spacing": spacing, "site": "B"}, "version": VERSION}
        parameters = {"spatial_dims": 2, "in_channels": 3, "classes": 2}
        row = {"id": f"ck_{name}", "name": name, "uri": f"/{name}.pt", "architecture": "unet", "card": card}
        _insert("checkpoints", {**row, **ENDED, "parameters": parameters, "created_at": 1.0})
    before = _cards()
    migrate.upgrade()
    with TestClient(create_app(), raise_server_exceptions=False) as own:
        cards = {name: own.get(f"/v1/checkpoints/{name}").json()["card"] for name in given}
    assert [cards[name]["spacing"] for name in "abc"] == [[0.5, 0.5], [], []]
    assert [cards[name].get("spacing_as_given") for name in "abc"] == [None, "half a millimetre", [0.5]]
    assert all(card["site"] == "B" for card in cards.values())
    command.downgrade(migrate.alembic_config(), "pauses")
    assert _cards() == before
    migrate.upgrade()


def _cards() -> list[Any]:
    query = sa.select(sa.column("card", sa.JSON())).select_from(sa.table("checkpoints")).order_by(sa.column("id"))
    with engine().connect() as connection:
        return list(connection.execute(query).scalars())


def test_lists_depend_on_what_was_known_before(upgraded: TestClient) -> None:
    shown = upgraded.get("/v1/rankings/rk_1?records=true").json()
    places = {row["candidate"]["name"]: row["scores"] for row in shown["ranked"]}
    assert [places[name]["logme"]["position"] for name in "ab"] == [2, 1]
    assert [places[name]["ac_corr"]["position"] for name in "ab"] == [None, 1]
    assert [places[name]["knn"]["position"] for name in "ab"] == [None, None]
    assert places["a"]["nce"]["position"] is None
    assert places["b"]["fused"]["flags"] == []  # it has an outcome on this very target
    assert {row["candidate"]["name"]: row["outcome"] for row in shown["ranked"]} == OUTCOMES[1][1]
    assert places["a"]["logme"]["record"] == RECORD
    assert upgraded.get("/v1/protocols").json()["items"] == {"ranking": PROTOCOL, "finetune": FINETUNE}


@pytest.mark.parametrize(
    "path", ["/", "/v1/datasets", "/v1/checkpoints", "/v1/rankings", "/rankings/rk_1", "/checkpoints/a"]
)
def test_every_list_and_page_is_shown(upgraded: TestClient, path: str) -> None:
    assert upgraded.get(path).status_code == 200


def test_jobs_keep_their_method_protocol_and_result(upgraded: TestClient) -> None:
    run = upgraded.get("/v1/finetune-runs/ft_1").json()
    assert (run["method"], run["options"], run["protocol"]) == ("vanilla", {}, FINETUNE)
    assert run["result"]["metrics"] == RESULT["metrics"]
    with engine().connect() as connection:
        assert connection.scalar(sa.text("SELECT finetune_method FROM rankings")) == "ac_norm"
        contents = connection.execute(sa.select(tables.FinetuneRun.__table__.c["protocol", "result"])).one()
    assert contents == (read(FinetuneProtocol, FINETUNE), read(FinetuneResult, RESULT))


def test_outcomes_keep_their_comparison_groups_and_say_what_those_are(upgraded: TestClient) -> None:
    groups = {row["source"]: row["comparison_group"] for row in upgraded.get("/v1/outcomes").json()["items"]}
    assert groups == {
        "a paper": {"id": "import", "words": "imported from a paper"},
        "finetune run": {"id": "0123456789abcdef", "words": f"vanilla, epochs {FINETUNE['epochs']}"},
    }


def test_every_content_has_its_version(upgraded: TestClient) -> None:
    for table, column in COLUMNS:
        columns = sa.Table(table, sa.MetaData(), autoload_with=engine())
        with engine().connect() as connection:
            stored = connection.scalars(sa.select(columns.c[column]).where(columns.c[column].is_not(None))).all()
        assert stored
        assert {content["version"] for content in stored if content is not None} == {VERSION}, (table, column)


@pytest.mark.parametrize("worker_started", [False, True])
def test_a_downgrade_gives_back_every_row_as_it_was(upgraded: TestClient, worker_started: bool) -> None:
    if worker_started:
        with transaction() as session:
            publish(session)
    command.downgrade(migrate.alembic_config(), "0002")
    for table, values in ROWS:
        keys = [name for name in ("id", "evaluation_id", "measure", "kind", "name") if name in values]
        columns = sa.Table(table, sa.MetaData(), autoload_with=engine())
        where = sa.and_(*(columns.c[key] == values[key] for key in keys))
        with engine().connect() as connection:
            row = connection.execute(sa.select(columns).where(where)).mappings().one()
        assert json.loads(json.dumps({name: row[name] for name in values})) == values
    with engine().connect() as connection:
        kinds = set(connection.scalars(sa.text("SELECT kind FROM capabilities")))
    assert kinds == {"protocol"} | (
        {"measure", "architecture", "card", "method", "reader"} if worker_started else set()
    )


def test_a_ranking_that_ended_before_answers_were_stored_says_so_until_somebody_stores_it(
    upgraded: TestClient,
) -> None:
    shown = upgraded.get("/v1/rankings/rk_1").json()
    answer = shown["answer"]
    assert (shown["state"], answer["revision"], answer["latest_revision"]) == ("done", None, None)
    assert "no answer is stored yet" in upgraded.get("/rankings/rk_1").text
    assert upgraded.get("/v1/rankings/rk_1/answers").json()["items"] == []
    assert upgraded.post("/v1/rankings/rk_1/answers").json()["number"] == 1
    stored = upgraded.get("/v1/rankings/rk_1").json()
    assert stored["answer"]["revision"] == 1
    assert stored["ranked"] == shown["ranked"]


def test_outcomes_keep_the_id_of_a_removed_run_until_a_downgrade(upgraded: TestClient) -> None:
    assert upgraded.delete("/v1/finetune-runs/ft_1").status_code == 204
    before = upgraded.get("/v1/outcomes", params={"source": "finetune run"}).json()["items"]
    assert [row["finetune_run"] for row in before] == ["ft_1"]
    command.downgrade(migrate.alembic_config(), "notes")
    migrate.upgrade()
    after = upgraded.get("/v1/outcomes", params={"source": "finetune run"}).json()["items"]
    assert after == [{**row, "finetune_run": None} for row in before]
