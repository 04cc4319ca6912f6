"""What a ranking answers: never surer than the candidates that it rests on, and stored as it was given."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from service.client.http import ZooRank
from service.client.terminal import commands, tables
from service.jobs import requests
from service.store import rankings
from service.store.session import transaction
from tests.conftest import TestClient
from tests.service.conftest import add_ranking, evaluate, evaluations, fail, score_of

NAMES = ["near", "far", "other"]


def requested(names: list[str] = NAMES, **more: Any) -> tuple[str, dict[str, str]]:
    """A new ranking's id, and the ids of its evaluations by candidate."""
    with transaction() as session:
        ranking = add_ranking(session, names, **{"order_by": "fused", **more})
        return ranking.id, {name: row.id for name, row in evaluations(session, ranking).items()}


def cancel(ranking_id: str) -> None:
    with transaction() as session:
        ranking = rankings.find(session, ranking_id)
        assert ranking is not None
        requests.cancel_ranking(session, ranking)


def read(client: TestClient, ranking_id: str, **params: Any) -> dict[str, Any]:
    shown: dict[str, Any] = client.get(f"/v1/rankings/{ranking_id}", params=params).json()
    return shown


def test_an_open_ranking_answers_so_far(client: TestClient) -> None:
    ranking_id, rows = requested()
    nothing = read(client, ranking_id)["answer"]
    assert (nothing["kind"], nothing["first"]) == (None, None)
    assert nothing["text"] == "So far, 0 of 3 candidates are evaluated; the answer may change."
    evaluate(rows["near"], score_of(0.9))
    fail(rows["far"], "not a state dict")
    answer = read(client, ranking_id)["answer"]
    assert (answer["kind"], answer["first"]["name"], answer["next_run"]) == (None, "near", None)
    missing = [{"name": "far", "state": "failed"}]
    coverage = answer["coverage"]
    assert [{key: row[key] for key in ("name", "state")} for row in coverage["missing"]] == missing
    assert (coverage["evaluated"], coverage["open"], coverage["candidates"]) == (1, 1, 3)
    assert answer["text"].startswith(
        "So far, 1 of 3 candidates are evaluated; the answer may change. Failed: far."
    )
    assert answer["text"].endswith("near is the only one evaluated.")
    assert "So far, 1 of 3 candidates" in client.get(f"/rankings/{ranking_id}").text
    evaluate(rows["other"], score_of(0.1))
    assert "So far" not in read(client, ranking_id)["answer"]["text"]


def test_a_whole_ranking_may_be_sure(client: TestClient) -> None:
    ranking_id, rows = requested(tolerance=0.5, risk=0.01)
    for name, value in zip(NAMES, (0.9, 0.2, 0.1), strict=True):
        evaluate(rows[name], score_of(value))
    answer = read(client, ranking_id)["answer"]
    assert (answer["kind"], answer["coverage"]["missing"], answer["tolerance"]) == ("any", [], 0.5)
    assert answer["text"].startswith("Any of near, ")
    assert " will do: each is at least 99 % likely to be within 50 points of the best" in answer["text"]


@pytest.mark.parametrize("ended", ["failed", "canceled"])
def test_a_missing_candidate_is_named_and_keeps_the_answer_from_being_sure(client: TestClient, ended: str) -> None:
    ranking_id, rows = requested()
    evaluate(rows["near"], score_of(0.9))
    evaluate(rows["far"], score_of(0.1))
    if ended == "failed":
        fail(rows["other"], "not a state dict")
    else:
        cancel(ranking_id)
    shown = read(client, ranking_id)
    assert shown["state"] == ("done" if ended == "failed" else "canceled")
    answer = shown["answer"]
    assert answer["kind"] is None
    assert [(row["name"], row["state"]) for row in answer["coverage"]["missing"]] == [("other", ended)]
    over = "" if ended == "failed" else "The ranking was canceled. "
    expected = f"{over}Only 2 of 3 candidates were evaluated. {ended.capitalize()}: other. "
    assert answer["text"].startswith(
        f"{expected}The best may be among the missing. Of those evaluated, near comes first: it is "
    )
    page = client.get(f"/rankings/{ranking_id}").text
    assert f'<p class="answer open">{expected}' in page


def test_a_ranking_whose_candidates_all_failed_has_failed(client: TestClient) -> None:
    ranking_id, rows = requested()
    for row in rows.values():
        fail(row, "not a state dict")
    shown = read(client, ranking_id)
    assert (shown["state"], shown["answer"]["first"]) == ("failed", None)
    text = "No candidate was evaluated, so there is no answer. Failed: far, near, other."
    assert shown["answer"]["text"] == text
    page = client.get(f"/rankings/{ranking_id}").text
    assert '<span class="state failed">failed</span>' in page.split("</h1>")[0]
    assert '<span class="state done">' not in page
    listed = client.get("/v1/rankings", params={"state": "failed"}).json()["items"]
    assert [row["id"] for row in listed] == [ranking_id]
    assert client.get("/v1/rankings", params={"state": "done"}).json()["items"] == []


def test_the_terminal_ends_with_the_reason_where_every_candidate_failed(
    sqlite_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranking_id, rows = requested(["near", "far"])

    def rank(zoo: ZooRank, *_: object, **__: object) -> dict[str, Any]:
        zoo._http = sqlite_client  # the service in this process
        for row in rows.values():
            fail(row, "not a state dict")
        return zoo.ranking(ranking_id)

    monkeypatch.setattr(ZooRank, "rank", rank)
    monkeypatch.setattr(ZooRank, "cost", lambda *_, **__: {"epochs_per_candidate": 0})
    ended = CliRunner().invoke(commands.app, ["rank", "discs", "near", "far"])
    assert ended.exit_code == 1
    assert f"ranking {ranking_id} failed: no candidate could be evaluated" in ended.output
    assert "No candidate was evaluated, so there is no answer." in ended.output


def test_the_terminal_says_what_is_missing(sqlite_client: TestClient) -> None:
    ranking_id, rows = requested(["near", "far"])
    evaluate(rows["near"], score_of(0.9))
    fail(rows["far"], "not a state dict")
    screen = Console(record=True, width=200)
    screen.print(tables.ranked_list(read(sqlite_client, ranking_id), url="http://zoo"))
    assert "Only 1 of 2 candidates were evaluated. Failed: far." in screen.export_text()
