"""A ranking whose past targets have outcomes of several protocols says which counts, and the caller may choose."""

from __future__ import annotations

from typing import Any

import pytest

from service.ledger import own_outcomes
from service.store import outcomes
from service.store.outcomes import OWN
from service.store.session import transaction
from service.store.tables import LedgerRow, Ranking
from tests.conftest import TestClient
from tests.service.conftest import DEFAULT_FINETUNE, add_dataset, add_ranking, evaluate, evaluations, score_of

REAL, SWEEP = "abcd", "edcba"  # candidates, the best first: of a paper, and of a sweep of four steps
TARGETS = ("x", "y", "z")


def rows(target: str, order: str, source: str, group: str) -> list[LedgerRow]:
    known = {"kind": "outcome", "name": "dice", "higher_is_better": True, "task": "segmentation"}
    known |= {"target": target, "source": source, "comparison_group": group, "modality": "fundus"}
    return [LedgerRow(candidate=name, value=0.9 - place / 10, **known) for place, name in enumerate(order)]


@pytest.fixture
def sweep(client: TestClient) -> str:
    """The comparison group of a sweep on past targets that a paper has outcomes on."""
    group = own_outcomes.group_of("ac_norm", DEFAULT_FINETUNE, {"share": 0.5})
    with transaction() as session:
        outcomes.add_group(session, group)
        for target in TARGETS:
            outcomes.add(session, rows(target, REAL, "paper", "paper"))
            outcomes.add(session, rows(target, SWEEP, OWN, group.id))
        return group.id


def finished(**more: Any) -> str:
    with transaction() as session:
        dataset = add_dataset(session, "new", modality="fundus")
        ranking = add_ranking(session, list(REAL), dataset_id=dataset.id, order_by="history_prior", **more)
        by_name = {name: row.id for name, row in evaluations(session, ranking).items()}
        ranking_id = ranking.id
    for row in by_name.values():
        evaluate(row, score_of(0.5), score_of(0.5, measure="logme"))
    return ranking_id


def order(shown: dict[str, Any]) -> str:
    return "".join(row["candidate"]["name"] for row in shown["ranked"])


def test_the_answer_says_which_outcomes_count_and_what_is_left_out(client: TestClient, sweep: str) -> None:
    shown = client.get(f"/v1/rankings/{finished()}").json()
    assert order(shown) == "dcba"
    learned = shown["answer"]["learned_from"]
    assert learned["groups"] == dict.fromkeys(TARGETS, "ac_norm, share 0.5, epochs 100")
    first = learned["comparisons"][0]
    assert (first["target"], first["group"]["id"], first["group"]["candidates"]) == ("x", sweep, sorted(SWEEP))
    [left_out] = first["left_out"]
    assert (left_out["id"], left_out["words"], left_out["candidates"]) == (
        "paper",
        "imported from paper",
        list(REAL),
    )
    note = (
        "On x dice of a, b, c, d, e (ac_norm, share 0.5, epochs 100) count. "
        "Left out: dice of a, b, c, d (imported from paper)."
    )
    assert note in shown["notes"]
    page = client.get(f"/rankings/{shown['id']}").text
    assert "Left out: dice of a, b, c, d (imported from paper)." in page
    link = f'<a href="/rankings/{shown["id"]}?protocol=paper">imported from paper</a>'
    assert page.count(link) == 1  # though it is left out on three targets
    assert shown["answer"]["comparison_group"] is None
    assert "the chosen protocol" not in page


def test_the_caller_chooses_the_outcomes_of_a_reading(client: TestClient, sweep: str) -> None:
    ranking_id = finished()
    with transaction() as session:
        outcomes.add(session, rows("elsewhere", "ab", "notebook", "notebook"))
    chosen = client.get(f"/v1/rankings/{ranking_id}", params={"protocol": "paper"}).json()
    assert order(chosen) == REAL
    assert chosen["answer"]["revision"] is None
    assert chosen["answer"]["comparison_group"] == {"id": "paper", "words": "imported from paper"}
    groups = {**dict.fromkeys(TARGETS, "imported from paper"), "elsewhere": "imported from notebook"}
    assert chosen["answer"]["learned_from"]["groups"] == groups
    assert chosen["answer"]["learned_from"]["comparisons"][0]["left_out"][0]["id"] == sweep
    assert order(client.get(f"/v1/rankings/{ranking_id}").json()) == "dcba"
    page = client.get(f"/rankings/{ranking_id}", params={"protocol": "paper"}).text
    assert "dice of a, b, c, d (imported from paper) count" in page
    assert "Where a target has outcomes of the chosen protocol (imported from paper), these count." in page
    assert f'<a href="/v1/rankings/{ranking_id}?protocol=paper">JSON</a>' in page


def test_a_ranking_may_ask_for_a_group_and_its_finetune_runs_follow(client: TestClient, sweep: str) -> None:
    ranking_id = finished(comparison_group="paper", finetune_top=1)
    shown = client.get(f"/v1/rankings/{ranking_id}").json()
    assert (shown["comparison_group"], order(shown)) == ("paper", REAL)
    assert shown["answer"]["comparison_group"] == {"id": "paper", "words": "imported from paper"}
    [run] = shown["finetune_runs"]
    assert client.get(f"/v1/finetune-runs/{run}").json()["checkpoint"]["name"] == "a"
    other = client.get(f"/v1/rankings/{ranking_id}", params={"protocol": sweep}).json()
    assert order(other) == "dcba"
    assert other["answer"]["comparison_group"] == {"id": sweep, "words": "ac_norm, share 0.5, epochs 100"}


def test_a_request_names_its_group(client: TestClient, sweep: str) -> None:
    finished()
    body = {"dataset": "new", "candidates": list(REAL), "comparison_group": "paper"}
    made = client.post("/v1/rankings", json=body)
    assert (made.status_code, made.json()["comparison_group"]) == (202, "paper")
    with transaction() as session:
        assert session.get_one(Ranking, made.json()["id"]).comparison_group == "paper"
    refused = client.post("/v1/rankings", json={**body, "comparison_group": "nothing"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "comparison_group")


@pytest.mark.parametrize("params", [{"protocol": "nothing"}, {"protocol": "paper", "as_of": "1"}])
def test_what_can_not_be_chosen_names_the_field(client: TestClient, sweep: str, params: dict[str, str]) -> None:
    refused = client.get(f"/v1/rankings/{finished()}", params=params)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "protocol")
    assert refused.json()["errors"][0]["remedy"]
