"""A ranking's answer is stored once when its last evaluation ends, and changes only when somebody asks for it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from typing import Any

import httpx
import pytest
from rich.console import Console
from sqlalchemy import select, update
from typer.testing import CliRunner

from service.api.rankings import service as ranking_service
from service.client import http
from service.client.terminal import commands, tables
from service.jobs import answers as answer_jobs
from service.jobs import following
from service.ledger import fusion, revisions
from service.settings import Settings
from service.store import ledger_changes
from service.store.session import reading, transaction
from service.store.tables import AnswerRevision, FinetuneRun, Ranking
from tests.conftest import TestClient
from tests.service.conftest import (
    add_checkpoint,
    add_dataset,
    add_ranking,
    client_of,
    evaluate,
    evaluations,
    fail,
    finish_run,
    score_of,
)

NAMES = "abcd"
SAME = dict.fromkeys(NAMES, 0.5)


def imported(client: TestClient, *targets: str, best_first: str, source: str = "a paper", **more: Any) -> None:
    """Import outcomes of all candidates on past targets."""
    rows = [
        {"kind": "outcome", "target": target, "candidate": name, "name": "dice", "value": 0.9 - 0.1 * place}
        | {"higher_is_better": True, "task": "segmentation", "modality": "fundus", **more}
        for target in targets
        for place, name in enumerate(best_first)
    ]
    answer = client.post("/v1/outcomes", json={"source": source, "rows": rows})
    assert answer.status_code == 200, answer.text


def requested(**more: Any) -> tuple[str, dict[str, str]]:
    """A new ranking of four candidates: its id, and the ids of its evaluations by candidate."""
    with transaction() as session:
        dataset = add_dataset(session, "new", modality="fundus")
        ranking = add_ranking(session, list(NAMES), dataset_id=dataset.id, **{"order_by": "fused", **more})
        return ranking.id, {name: row.id for name, row in evaluations(session, ranking).items()}


def ended(**more: Any) -> str:
    """A ranking whose evaluations are done, with equal scores for all candidates."""
    ranking_id, rows = requested(**more)
    for name, value in SAME.items():
        evaluate(rows[name], score_of(value))
    return ranking_id


def read(client: TestClient, ranking_id: str, **params: Any) -> dict[str, Any]:
    answer = client.get(f"/v1/rankings/{ranking_id}", params=params)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def order_of(shown: dict[str, Any]) -> str:
    return "".join(row["candidate"]["name"] for row in shown["ranked"])


def without_newer(shown: dict[str, Any]) -> dict[str, Any]:
    return {**shown, "answer": {**shown["answer"], "newer": None, "latest_revision": None}}


def ledger_revision() -> int:
    with reading() as session:
        return ledger_changes.current(session)


def stored() -> list[tuple[str, int]]:
    with reading() as session:
        return [(row.ranking_id, row.number) for row in session.scalars(select(AnswerRevision))]


def sweep_late() -> None:
    """What a sweeper does when an answer has been due for a while."""
    with transaction() as session:
        session.execute(update(Ranking).where(Ranking.answer_due_at.is_not(None)).values(answer_due_at=1.0))
    answer_jobs.store_overdue()


def together(*work: Callable[[], object]) -> None:
    barrier = threading.Barrier(len(work))

    def start(one: Callable[[], object]) -> object:
        barrier.wait()
        return one()

    with ThreadPoolExecutor(len(work)) as threads:
        list(threads.map(start, work))


def test_a_finished_list_stays_as_it_was_and_the_newer_answer_is_offered(client: TestClient) -> None:
    imported(client, "x", "y", "z", best_first="abcd")
    ranking_id = ended()
    before = read(client, ranking_id)
    answer = before["answer"]
    assert (before["state"], answer["revision"], answer["latest_revision"]) == ("done", 1, 1)
    assert answer["at"] is not None
    assert answer["newer"] is None
    assert answer["ledger_revision"] == ledger_revision()
    assert answer["learned_from"]["targets"] == ["x", "y", "z"]
    assert answer["learned_from"]["trust"] == {"one_epoch_outcome": 0.4}
    assert set(answer["learned_from"]["groups"]) == {"x", "y", "z"}
    assert order_of(before) == "abcd"

    imported(client, *(f"later{number}" for number in range(9)), best_first="dcba")
    after = read(client, ranking_id)
    assert without_newer(after) == without_newer(before)
    newer = after["answer"]["newer"]
    assert newer["as_of"] == "now"
    assert "36 outcomes added on later0, later1, later2 and 6 more" in newer["text"]
    assert {(each["change"], each["kind"], each["count"]) for each in newer["changes"]} == {
        ("added", "outcome", 4)
    }

    now = read(client, ranking_id, as_of="now")
    assert (now["answer"]["revision"], now["answer"]["latest_revision"], now["answer"]["newer"]) == (None, 1, None)
    assert order_of(now) == "dcba"
    assert now["answer"]["first"]["name"] == "d"
    page = client.get(f"/rankings/{ranking_id}").text
    assert "Revision 1 of the answer, stored" in page
    assert "36 outcomes added" in page
    assert f'href="/rankings/{ranking_id}?as_of=now"' in page
    assert "no answer" not in page
    assert f'<a href="/v1/rankings/{ranking_id}">JSON</a>' in page
    page = client.get(f"/rankings/{ranking_id}?as_of=now").text
    assert f'<a href="/v1/rankings/{ranking_id}?as_of=now">JSON</a>' in page
    assert "derived by the ledger as it is now" in page
    assert page.index(">d</a>") < page.index(">a</a>")


def test_a_new_revision_is_stored_on_request_and_says_what_changed_and_why(client: TestClient) -> None:
    imported(client, "x", "y", "z", best_first="abcd")
    ranking_id = ended()
    first = read(client, ranking_id)
    path = f"/v1/rankings/{ranking_id}/answers"
    unchanged = client.post(path)
    assert (unchanged.status_code, unchanged.json()["number"]) == (200, 1)
    imported(client, *(f"later{number}" for number in range(9)), best_first="dcba")
    made = client.post(path).json()
    assert made["number"] == 2
    assert made["difference"]["leader_changed"]
    assert made["difference"]["answer_changed"]
    moves = {row["candidate"]["name"]: (row["before"], row["after"]) for row in made["difference"]["moved"]}
    assert moves == {"a": (1, 4), "b": (2, 3), "c": (3, 2), "d": (4, 1)}
    assert made["difference"]["text"].startswith("d leads the list instead of a.")
    assert made["why"].startswith("The ledger had changed: 36 outcomes added on later0")
    assert client.post(path).json() == made
    shown = read(client, ranking_id)
    assert (shown["answer"]["revision"], shown["answer"]["newer"], order_of(shown)) == (2, None, "dcba")
    assert shown["answer"]["text"] == read(client, ranking_id, as_of="now")["answer"]["text"]

    older = read(client, ranking_id, as_of=1)
    assert without_newer(older) == without_newer(first)
    assert (older["answer"]["newer"]["as_of"], older["answer"]["latest_revision"]) == ("2", 2)
    listed = client.get(path).json()
    assert [row["number"] for row in listed["items"]] == [2, 1]
    assert listed["items"][0] == made
    assert (listed["items"][1]["difference"], listed["next"]) == (None, None)
    page = client.get(path, params={"limit": 1}).json()
    assert [row["number"] for row in page["items"]] == [2]
    assert client.get(path, params={"after": page["next"]}).json()["items"] == listed["items"][1:]
    assert "d leads the list instead of a." in client.get(f"/rankings/{ranking_id}").text


def test_a_change_that_alters_nothing_makes_no_revision_and_is_looked_at_once(client: TestClient) -> None:
    imported(client, "x", "y", "z", best_first="abcd")
    ranking_id = ended()
    imported(client, "elsewhere", best_first="dcba", task="classification")
    assert read(client, ranking_id)["answer"]["newer"] is not None
    made = client.post(f"/v1/rankings/{ranking_id}/answers").json()
    assert (made["number"], made["holds_until"]) == (1, ledger_revision())
    assert read(client, ranking_id)["answer"]["newer"] is None


@pytest.mark.parametrize(("as_of", "status"), [("2", 404), ("0", 422), ("yesterday", 422), ("-1", 422)])
def test_a_revision_that_is_not_there_is_named(sqlite_client: TestClient, as_of: str, status: int) -> None:
    ranking_id = ended()
    answer = sqlite_client.get(f"/v1/rankings/{ranking_id}", params={"as_of": as_of})
    assert answer.status_code == status
    [fault] = answer.json()["errors"]
    assert fault["field"] == "as_of"
    assert ("now" in fault["message"]) == ("now" in fault["remedy"]) == (status == 422)


def test_the_answer_of_a_running_ranking_can_not_be_stored(client: TestClient) -> None:
    ranking_id, _ = requested()
    answer = client.post(f"/v1/rankings/{ranking_id}/answers")
    assert answer.status_code == 409
    assert "wait" in answer.json()["errors"][0]["remedy"]
    assert client.get(f"/v1/rankings/{ranking_id}/answers").json()["items"] == []
    assert client.post("/v1/rankings/none/answers").status_code == 404
    assert client.get("/v1/rankings/none/answers").status_code == 404


def test_reading_a_finished_ranking_derives_nothing(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    imported(client, "x", "y", "z", best_first="abcd")
    ranking_id = ended()
    before = read(client, ranking_id)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("derived")

    monkeypatch.setattr(fusion, "combine", refuse)
    assert read(client, ranking_id) == before
    assert client.get(f"/v1/rankings/{ranking_id}", params={"as_of": "now"}).status_code == 500


def test_the_stored_list_has_all_that_the_derived_one_has(client: TestClient) -> None:
    imported(client, "x", "y", "z", best_first="bacd")
    imported(client, "new", best_first="b")
    ranking_id = ended()
    stored_one, derived = (
        read(client, ranking_id, records=True),
        read(client, ranking_id, records=True, as_of="now"),
    )
    for key in ("ranked", "notes", "flags", "track_record", "finetune_seconds"):
        assert stored_one[key] == derived[key], key
    own = ("revision", "at")
    assert {key: value for key, value in stored_one["answer"].items() if key not in own} == {
        key: value for key, value in derived["answer"].items() if key not in own
    }
    assert "probability_best" in stored_one["ranked"][0]["scores"]["fused"]["record"]


def test_a_process_that_dies_before_it_stores_the_answer_costs_a_delay(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported(client, "x", "y", "z", best_first="abcd")
    with monkeypatch.context() as dead:
        dead.setattr(answer_jobs, "store_due", lambda _: None)
        ranking_id = ended(finetune_top=1)
    waiting = read(client, ranking_id)
    assert (waiting["state"], waiting["finetune_runs"], waiting["answer"]["revision"]) == ("running", [], None)
    for state, ids in (("running", [ranking_id]), ("done", [])):
        listed = client.get("/v1/rankings", params={"state": state}).json()["items"]
        assert [row["id"] for row in listed] == ids
    answer_jobs.store_overdue()
    assert stored() == []  # another process may be about to store it
    sweep_late()
    shown = read(client, ranking_id)
    assert (shown["state"], shown["answer"]["revision"], len(shown["finetune_runs"])) == ("done", 1, 1)
    sweep_late()
    assert stored() == [(ranking_id, 1)]


def test_an_answer_that_can_not_be_derived_loses_no_evaluation(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ArithmeticError("of all kinds")

    ranking_id, rows = requested()
    with monkeypatch.context() as broken:
        broken.setattr(revisions, "derive", fail)
        for row in rows.values():
            evaluate(row, score_of(0.5))
    assert read(client, ranking_id)["counts"] == {"done": 4}
    sweep_late()
    assert read(client, ranking_id)["answer"]["revision"] == 1


def test_an_end_that_is_told_twice_stores_nothing_new(client: TestClient) -> None:
    ranking_id = ended(finetune_top=1)
    before = read(client, ranking_id)
    with transaction() as session:
        following.settle(session, ranking_id)
    assert stored() == [(ranking_id, 1)]
    assert read(client, ranking_id) == before


def test_a_retried_ranking_gets_a_new_revision_when_it_ends_again(client: TestClient) -> None:
    ranking_id, rows = requested()
    for name in "abc":
        evaluate(rows[name], score_of(0.5))
    fail(rows["d"], "out of memory")
    assert not read(client, ranking_id)["answer"]["coverage"]["open"]
    again = client.post(f"/v1/rankings/{ranking_id}/retry").json()
    assert (again["state"], again["answer"]["revision"]) == ("running", None)
    page = client.get(f"/rankings/{ranking_id}").text
    assert page.count("so far</h2>") == 2
    assert f'<a href="/rankings/{ranking_id}?as_of=1">The stored answer</a>' in page
    page = client.get(f"/rankings/{ranking_id}?as_of=1").text
    assert "so far</h2>" not in page
    assert "Revision 1 of the answer, stored" in page
    assert "The state of d is queued now; it was failed when this revision was stored." in page
    evaluate(rows["d"], score_of(0.9))
    shown = read(client, ranking_id)
    assert (shown["state"], shown["answer"]["revision"], order_of(shown)[0]) == ("done", 2, "d")
    newest = client.get(f"/v1/rankings/{ranking_id}/answers").json()["items"][0]
    assert newest["why"] == "The evaluations had changed, or what the workers publish."
    assert newest["difference"]["leader_changed"]
    older = read(client, ranking_id, as_of=1)
    assert "Failed: d." in older["answer"]["text"]
    assert older["notes"][-1] == "The state of d is done now; it was failed when this revision was stored."
    assert not any(note.startswith("The state of") for note in shown["notes"])


def test_another_coverage_is_no_other_answer_and_is_said(client: TestClient) -> None:
    imported(client, "x", "y", "z", best_first="abcd")
    ranking_id, rows = requested()
    evaluate(rows["a"], score_of(0.9))
    evaluate(rows["b"], score_of(0.5))
    for name in "cd":
        fail(rows[name], "out of memory")
    client.post(f"/v1/rankings/{ranking_id}/retry")
    evaluate(rows["c"], score_of(0.1))
    fail(rows["d"], "out of memory")
    newest = client.get(f"/v1/rankings/{ranking_id}/answers").json()["items"][0]
    assert (newest["number"], newest["difference"]["answer_changed"]) == (2, False)
    assert newest["difference"]["text"] == "3 instead of 2 candidates are evaluated. 1 place changed."
    client.post(f"/v1/rankings/{ranking_id}/retry")
    client.post(f"/v1/rankings/{ranking_id}/cancel")
    newest = client.get(f"/v1/rankings/{ranking_id}/answers").json()["items"][0]
    missing = "Other candidates are missing, or are missing for another reason. No place changed."
    assert (newest["number"], newest["difference"]["text"]) == (3, missing)


def test_many_that_store_together_store_one_revision(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as dead:
        dead.setattr(answer_jobs, "store_due", lambda _: None)
        ranking_id = ended(finetune_top=2)
    together(*[lambda: answer_jobs.store_due(ranking_id)] * 4)
    assert stored() == [(ranking_id, 1)]
    assert len(read(client, ranking_id)["finetune_runs"]) == 2


def test_requests_together_for_a_new_revision_store_one(client: TestClient) -> None:
    ranking_id = ended()
    imported(client, "x", "y", "z", best_first="dcba")
    together(*[lambda: client.post(f"/v1/rankings/{ranking_id}/answers")] * 4)
    assert stored() == [(ranking_id, 1), (ranking_id, 2)]


def test_finetune_runs_are_of_the_best_by_the_stored_revision(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported(client, "x", "y", "z", best_first="abcd")
    derive = answer_jobs.derive

    def derive_before_an_import(*args: Any) -> Any:
        derived = derive(*args)
        imported(client, *(f"later{number}" for number in range(9)), best_first="dcba")
        return derived

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(answer_jobs, "derive", derive_before_an_import)
        ranking_id = ended(finetune_top=1)
    shown = read(client, ranking_id)
    assert order_of(read(client, ranking_id, as_of="now")) == "dcba"
    run = client.get(f"/v1/finetune-runs/{shown['finetune_runs'][0]}").json()
    assert (order_of(shown), run["checkpoint"]["name"]) == ("abcd", "a")
    assert shown["answer"]["newer"] is not None
    with reading() as session:
        row = session.scalars(select(FinetuneRun)).one()
    finish_run(row, {"metrics": {"test": {"dice": 0.8}}, "primary": "dice", "network_file": "x"})
    changes = read(client, ranking_id)["answer"]["newer"]["changes"]
    assert {"change": "added", "kind": "outcome", "target": "new", "count": 1} in changes


def test_a_canceled_ranking_starts_no_finetune_run_and_its_answer_is_stored(client: TestClient) -> None:
    ranking_id, rows = requested(finetune_top=1)
    evaluate(rows["a"], score_of(0.5))
    canceled = client.post(f"/v1/rankings/{ranking_id}/cancel").json()
    assert (canceled["state"], canceled["answer"]["revision"], canceled["finetune_runs"]) == ("canceled", 1, [])
    assert canceled["answer"]["text"].startswith(
        "The ranking was canceled. Only 1 of 4 candidates were evaluated."
    )
    assert read(client, ranking_id) == canceled


@pytest.fixture
def not_locked(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each derivation from here on, after another process wrote to the database in the middle of it."""
    derivations: list[str] = []
    derive = revisions.derive

    def write_meanwhile(*args: Any, **more: Any) -> Any:
        other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), timeout=0.2, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
        other.close()
        derivations.append("derived")
        return derive(*args, **more)

    monkeypatch.setattr(revisions, "derive", write_meanwhile)
    return derivations


def test_nothing_is_derived_while_a_write_lock_is_held(sqlite_client: TestClient, not_locked: list[str]) -> None:
    with transaction() as session:
        add_dataset(session, "discs")
        for name in "ab":
            add_checkpoint(session, name)
    body = {"dataset": "discs", "candidates": ["a", "b"]}
    made = [sqlite_client.post("/v1/rankings", json=body) for _ in range(2)]
    assert [answer.status_code for answer in made] == [202, 202]
    assert len(not_locked) == 2
    assert sqlite_client.post(f"/v1/rankings/{made[0].json()['id']}/cancel").status_code == 200
    for row in made[1].json()["ranked"]:
        evaluate(row["evaluation"], score_of(0.5))
    path = f"/v1/rankings/{made[1].json()['id']}"
    assert sqlite_client.get(path).json()["answer"]["revision"] == 1
    assert sqlite_client.post(f"{path}/answers").status_code == 200
    assert len(not_locked) == 5


def test_a_request_whose_answer_was_not_given_is_not_done_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with transaction() as session:
        add_dataset(session, "discs")
        add_checkpoint(session, "a")
    body, key = {"dataset": "discs", "candidates": ["a"]}, {"Idempotency-Key": "once"}

    def die(*_: object) -> None:
        raise RuntimeError("the process ended")

    with monkeypatch.context() as dying:
        dying.setattr(revisions, "derive", die)
        assert client.post("/v1/rankings", json=body, headers=key).status_code == 500
    again = client.post("/v1/rankings", json=body, headers=key)
    assert (again.status_code, again.json()["state"]) == (202, "queued")
    assert [row["id"] for row in client.get("/v1/rankings").json()["items"]] == [again.json()["id"]]
    third = client.post("/v1/rankings", json=body, headers=key)
    assert third.json() == again.json()
    assert third.headers["Location"] == f"/v1/rankings/{again.json()['id']}"


def test_the_revision_of_the_ledger_grows_with_each_change_and_only_then(client: TestClient) -> None:
    seen = [ledger_revision()]

    def grown(by: int) -> bool:
        seen.append(ledger_revision())
        return seen[-1] - seen[-2] == by

    imported(client, "x", best_first="ab")
    assert grown(1)
    imported(client, "x", best_first="ab")
    assert grown(0)
    imported(client, "x", "y", best_first="ba")
    assert grown(2)  # some replaced, some added
    assert client.delete("/v1/outcomes", params={"source": "a paper"}).status_code == 200
    assert grown(2)
    assert client.delete("/v1/outcomes", params={"source": "a paper"}).status_code == 200
    assert grown(0)
    ended()
    assert grown(0)  # nothing is learned from scores on a target without outcomes
    imported(client, "new", best_first="ab", source="another")
    assert grown(1)
    outcome = client.get("/v1/outcomes", params={"target": "new"}).json()["items"][0]["id"]
    for excluded, by in ((True, 1), (True, 0), (False, 1)):
        change = {"excluded": excluded, "reason": "a toy run"}
        assert client.patch(f"/v1/outcomes/{outcome}", json=change).status_code == 200
        assert grown(by)
    assert client.patch("/v1/datasets/new", json={"modality": "CT"}).status_code == 200
    assert grown(1)
    with transaction() as session:
        ranking = add_ranking(session, ["e"], dataset_id=add_dataset(session, "x").id)
        rows = evaluations(session, ranking)
    imported(client, "x", best_first="ab")
    assert grown(1)
    evaluate(rows["e"].id, score_of(0.5))
    assert grown(1)
    assert client.delete(f"/v1/rankings/{ranking.id}", params={"force": True}).status_code == 204
    assert grown(1)


def test_a_description_that_stays_as_it_is_changes_no_answer(client: TestClient) -> None:
    imported(client, "x", best_first="abcd")
    with transaction() as session:
        add_dataset(session, "x", modality="fundus")
    ranking_id, before = ended(), ledger_revision()
    same = {"modality": "fundus", "cohort": None, "task": "segmentation", "uri": None}
    assert client.patch("/v1/datasets/x", json=same).status_code == 200
    assert ledger_revision() == before
    assert read(client, ranking_id)["answer"]["newer"] is None


def test_an_answer_is_newer_when_its_own_dataset_is_described_otherwise(client: TestClient) -> None:
    imported(client, "x", "y", "z", best_first="abcd", cohort="K")
    ranking_id = ended()
    with transaction() as session:
        unused = add_dataset(session, "unused").name
        other = add_ranking(session, ["e"], dataset_id=add_dataset(session, "other").id)
        evaluation = evaluations(session, other)["e"].id
    evaluate(evaluation, score_of(0.5))
    for name in (unused, "other"):
        assert client.patch(f"/v1/datasets/{name}", json={"cohort": "L"}).status_code == 200
        assert read(client, ranking_id)["answer"]["newer"] is None
    for cohort, past_targets in (("K", 0), (None, 3)):
        assert client.patch("/v1/datasets/new", json={"cohort": cohort}).status_code == 200
        newer = read(client, ranking_id)["answer"]["newer"]
        assert "1 description replaced on new" in newer["text"]
        assert len(read(client, ranking_id, as_of="now")["answer"]["learned_from"]["targets"]) == past_targets
        revision = client.post(f"/v1/rankings/{ranking_id}/answers").json()
        assert revision["why"] == "The ledger had changed: 1 description replaced on new."


def test_the_changes_of_an_answer_are_the_first_and_the_number_of_others(client: TestClient) -> None:
    ranking_id = ended()
    imported(client, *(f"t{number:03}" for number in range(60)), best_first="ab")
    newer = read(client, ranking_id)["answer"]["newer"]
    assert [each["target"] for each in newer["changes"]] == [f"t{number:03}" for number in range(50)]
    assert newer["further_changes"] == 10
    assert "120 outcomes added on t000, t001, t002 and 57 more" in newer["text"]
    client.post(f"/v1/rankings/{ranking_id}/answers")
    [revision, first] = client.get(f"/v1/rankings/{ranking_id}/answers").json()["items"]
    assert (len(revision["changes"]), revision["further_changes"]) == (50, 10)
    assert (first["changes"], first["further_changes"]) == ([], 0)


def test_a_repeat_of_a_new_answer_is_replayed_while_the_ranking_runs_again(client: TestClient) -> None:
    ranking_id, rows = requested()
    for name in "abc":
        evaluate(rows[name], score_of(0.5))
    fail(rows["d"], "out of memory")
    path, key = f"/v1/rankings/{ranking_id}/answers", {"Idempotency-Key": "k1"}
    first = client.post(path, headers=key)
    assert first.status_code == 200
    assert client.post(f"/v1/rankings/{ranking_id}/retry").status_code == 202
    again = client.post(path, headers=key)
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["Idempotent-Replayed"] == "true"
    assert client.post(path, headers=key, json={"another": "body"}).status_code == 422
    assert client.post(path).status_code == 409


def test_changes_of_many_writers_are_numbered_in_the_order_of_their_commits(configured: Settings) -> None:
    def note() -> None:
        with transaction() as session:
            ledger_changes.note(session, ledger_changes.ADDED, [("outcome", "x"), ("score", "x")])

    together(*[note] * 6)
    assert ledger_revision() == 12
    with reading() as session:
        growth = ledger_changes.between(session, 0)
        assert [(each.kind, each.count) for each in growth] == [("outcome", 6), ("score", 6)]
        assert [each.kind for each in ledger_changes.between(session, 0, for_target="x")] == ["outcome"]
        assert sum(each.count for each in ledger_changes.between(session, 4, 8)) == 4


def test_the_page_of_a_long_list_links_to_its_other_rows(
    sqlite_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranking_id = ended()
    monkeypatch.setitem(ranking_service.ranked.__kwdefaults__, "part", slice(1))
    page = unescape(sqlite_client.get(f"/rankings/{ranking_id}?as_of=1").text)
    link = f'<a href="/v1/rankings/{ranking_id}?as_of=1&first=1&limit=1000">JSON</a>'
    assert f"The list has 3 more rows; the {link} has them" in page


def test_the_client_reads_a_long_list_in_parts_of_one_revision(
    sqlite_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported(sqlite_client, "x", "y", "z", best_first="abcd")
    ranking_id = ended()
    asked: list[str] = []

    def store_another(request: httpx.Request) -> None:
        asked.append(request.url.query.decode())
        if len(asked) == 2:
            imported(sqlite_client, *(f"later{number}" for number in range(9)), best_first="dcba")
            sqlite_client.post(f"/v1/rankings/{ranking_id}/answers")

    monkeypatch.setattr(http, "MOST_ROWS", 1)
    monkeypatch.setitem(sqlite_client.event_hooks, "request", [store_another])
    with client_of(sqlite_client) as zoo:
        assert order_of(zoo.ranking(ranking_id)) == "abcd"
    sqlite_client.event_hooks["request"].clear()
    with client_of(sqlite_client) as zoo:
        assert order_of(zoo.ranking(ranking_id)) == "dcba"


def test_the_client_loses_no_row_that_moves_while_it_reads(
    sqlite_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranking_id, rows = requested()
    asked: list[str] = []

    def end_one(request: httpx.Request) -> None:
        asked.append(request.url.query.decode())
        if len(asked) == 2:
            evaluate(rows["d"], score_of(0.5))

    monkeypatch.setattr(http, "MOST_ROWS", 1)
    monkeypatch.setitem(sqlite_client.event_hooks, "request", [end_one])
    with client_of(sqlite_client) as zoo:
        assert order_of(zoo.ranking(ranking_id)) == "dabc"


def test_the_terminal_shows_a_ranking_by_its_id(
    sqlite_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranking_id = ended()
    imported(sqlite_client, "x", best_first="abcd")
    monkeypatch.setattr(commands, "ZooRank", lambda _url: client_of(sqlite_client))
    for options, said in (
        ([], "Revision 1 of the answer"),
        (["--as-of", "now"], "derived by the ledger as it is"),
    ):
        ended_with = CliRunner().invoke(
            commands.app, ["ranking", "show", ranking_id, *options], env={"COLUMNS": "300"}
        )
        assert said in ended_with.output


def test_the_terminal_says_which_answer_it_shows(sqlite_client: TestClient) -> None:
    ranking_id = ended()
    imported(sqlite_client, "x", best_first="abcd")
    screen = Console(record=True, width=300)
    for params in ({}, {"as_of": "now"}):
        screen.print(tables.ranked_list(read(sqlite_client, ranking_id, **params), url="http://zoo"))
    printed = screen.export_text()
    assert "Revision 1 of the answer, stored 20" in printed
    assert f"4 outcomes added on x. Read it with: zoorank ranking show {ranking_id} --as-of now" in printed
    assert "derived by the ledger as it is now, revision 1; the newest stored one is revision 1." in printed
