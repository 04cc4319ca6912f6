"""A score whose spread over random starts is above the gap to the next candidate's is flagged."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

from service.store.session import transaction
from tests.service.conftest import add_ranking, evaluate, evaluations, score_of


def shown(client: TestClient, scores: dict[str, tuple[float, float | None]]) -> tuple[dict[str, Any], str]:
    """The finished ranking of these values and spreads of logme, over HTTP and as a page."""
    with transaction() as session:
        ranking = add_ranking(session, list(scores), measures=["logme"], order_by="logme")
        rows = {name: row.id for name, row in evaluations(session, ranking).items()}
    for name, (value, spread) in scores.items():
        score = score_of(value, measure="logme")
        score.spread = spread
        evaluate(rows[name], score)
    return client.get(f"/v1/rankings/{ranking.id}").json(), client.get(f"/rankings/{ranking.id}").text


def test_scores_nearer_than_their_spread_are_unstable(client: TestClient) -> None:
    found, page = shown(client, {"a": (-0.1, 0.01), "b": (-0.3, 0.05), "c": (-0.34, 0.02), "d": (-0.9, 0.02)})
    by_name = {row["candidate"]["name"]: row["scores"]["logme"] for row in found["ranked"]}
    assert {name: score["flags"] for name, score in by_name.items()} == {
        "a": [],
        "b": ["unstable"],
        "c": ["unstable"],
        "d": [],
    }
    assert by_name["b"]["spread"] == 0.05
    assert [by_name[name]["position"] for name in "abcd"] == [1, 2, 3, 4]
    assert any(note.startswith("unstable: ") for note in found["notes"])
    assert "unstable" in page


def test_scores_apart_and_scores_without_a_spread_are_not(sqlite_client: TestClient) -> None:
    found, page = shown(sqlite_client, {"a": (-0.1, 0.01), "b": (-0.3, None), "c": (-0.3, None)})
    assert all(row["scores"]["logme"]["flags"] == [] for row in found["ranked"])
    assert "unstable" not in page
