"""A checkpoint that was loaded in part is flagged wherever it is shown, and stands after all others."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import select
from typer.testing import CliRunner

from service.client.terminal import commands, registered
from service.client.terminal.tables import progress, ranked_list
from service.settings import settings
from service.store.contents import Preflight
from service.store.session import reading, transaction
from service.store.tables import Checkpoint, FinetuneRun, WorkState
from tests.conftest import TestClient
from tests.service.conftest import (
    add_ranking,
    checkpoint_body,
    client_of,
    evaluate,
    evaluations,
    finish_run,
    score_of,
)

SHARE = 69.34
FLAG = "partly_loaded"


def ranked(client: TestClient, **more: Any) -> dict[str, Any]:
    """A ranking whose partly loaded candidate has the best scores."""
    with transaction() as session:
        ranking = add_ranking(session, ["half", "whole", "other"], **more)
        half = session.scalar(select(Checkpoint).where(Checkpoint.name == "half"))
        assert half is not None
        half.preflight = Preflight(tensors=9, loaded=6, percent_loaded=SHARE)
        rows = evaluations(session, ranking)
    for name, value in (("half", 0.9), ("whole", 0.6), ("other", 0.5)):
        evaluate(rows[name].id, score_of(value), score_of(value, measure="logme"))
    shown: dict[str, Any] = client.get(f"/v1/rankings/{ranking.id}").json()
    return shown


def places(shown: dict[str, Any]) -> list[tuple[str, int | None]]:
    return [(row["candidate"]["name"], row["position"]) for row in shown["ranked"]]


@pytest.mark.parametrize("order_by", ["one_epoch_outcome", "fused"])
def test_a_partly_loaded_candidate_has_no_place_and_no_part_in_the_answer(
    client: TestClient, order_by: str
) -> None:
    shown = ranked(client, order_by=order_by, finetune_top=2)
    assert places(shown) == [("whole", 1), ("other", 2), ("half", None)]
    half = shown["ranked"][-1]
    assert half["scores"]["one_epoch_outcome"]["position"] is None
    assert half["scores"]["one_epoch_outcome"]["value"] == 0.9
    assert shown["answer"]["first"]["name"] != "half"
    assert "half" not in [row["name"] for row in shown["answer"]["shortlist"]]
    runs = [client.get(f"/v1/finetune-runs/{run}").json()["checkpoint"] for run in shown["finetune_runs"]]
    assert {run["name"] for run in runs} == {"whole", "other"}


def test_a_ranking_that_asks_for_it_places_them_by_their_scores(client: TestClient) -> None:
    shown = ranked(client, partly_loaded="mixed", finetune_top=1)
    assert places(shown) == [("half", 1), ("whole", 2), ("other", 3)]
    assert shown["partly_loaded"] == "mixed"
    assert FLAG in shown["ranked"][0]["flags"]
    [run] = [client.get(f"/v1/finetune-runs/{run}").json() for run in shown["finetune_runs"]]
    assert run["checkpoint"] == {**run["checkpoint"], "name": "half", FLAG: True, "percent_loaded": SHARE}


def test_json_and_notes_say_how_much_is_loaded(sqlite_client: TestClient) -> None:
    shown = ranked(sqlite_client)
    half = shown["ranked"][-1]
    assert half["candidate"] == {**half["candidate"], FLAG: True, "percent_loaded": SHARE}
    assert half["flags"] == [FLAG]
    assert FLAG in shown["flags"]
    assert any(note.startswith(f"{FLAG}: Part of the network") for note in shown["notes"])
    assert sqlite_client.get("/v1/checkpoints/half").json()["percent_loaded"] == SHARE
    [listed] = [row for row in sqlite_client.get("/v1/checkpoints").json()["items"] if row[FLAG]]
    assert listed["name"] == "half"
    assert FLAG in sqlite_client.get("/v1/flags").json()["items"]


def test_pages_and_terminal_say_how_much_is_loaded(sqlite_client: TestClient) -> None:
    shown = ranked(sqlite_client, partly_loaded="mixed", finetune_top=1)
    with reading() as session:
        run = session.scalars(select(FinetuneRun)).one()
    finish_run(run, {"metrics": {"test": {"dice": 0.5}}})
    for path in (f"/rankings/{shown['id']}", "/checkpoints/half", f"/finetune-runs/{run.id}", "/"):
        page = sqlite_client.get(path).text
        assert FLAG in page, path
        assert "69.3 % loaded" in page, path
    assert FLAG not in sqlite_client.get("/checkpoints/whole").text
    console = Console(width=200, record=True, quiet=False, file=None, force_terminal=False)
    with console.capture() as printed:
        console.print(ranked_list(shown, url=""), progress(shown))
    assert printed.get().count("half (69.3 % loaded)") == 2
    assert FLAG in printed.get()


def test_a_registration_may_allow_it(sqlite_client: TestClient) -> None:
    body = checkpoint_body(settings(), allow_partial=True)
    assert sqlite_client.post("/v1/checkpoints", json=body).json()["allow_partial"] is True
    other = checkpoint_body(settings(), "other")
    made = sqlite_client.post("/v1/checkpoints", json=other).json()
    assert (made["allow_partial"], made[FLAG], made["percent_loaded"]) == (False, False, None)


def test_a_failed_registration_may_be_changed_to_allow_it(
    sqlite_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = sqlite_client.post("/v1/checkpoints", json=checkpoint_body(settings())).json()
    with transaction() as session:
        session.get_one(Checkpoint, made["id"]).state = WorkState.FAILED
    monkeypatch.setattr(registered, "ZooRank", lambda _url: client_of(sqlite_client))
    ended = CliRunner().invoke(commands.app, ["checkpoint", "change", made["name"], "--allow-partial"])
    assert ended.output == f"{made['name']} is queued\n"
    assert sqlite_client.get(f"/v1/checkpoints/{made['id']}").json()["allow_partial"] is True
    changed = sqlite_client.patch(f"/v1/checkpoints/{made['id']}", json={"allow_partial": False})
    assert changed.json()["allow_partial"] is False


def test_a_partly_loaded_candidate_stands_after_one_whose_score_may_not_rank(sqlite_client: TestClient) -> None:
    shown = ranked(sqlite_client, order_by="ac_corr")
    assert places(shown) == [("other", None), ("whole", None), ("half", None)]
