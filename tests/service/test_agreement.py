"""From ledger rows to records, agreement over HTTP, and what a ranking answers by them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service.jobs import requests
from service.ledger import own_outcomes
from service.ledger import records as ledger
from service.ledger.flags import flags
from service.ledger.ranked_list import rank
from service.ledger.records import Slice
from service.store import outcomes
from service.store.outcomes import OWN
from service.store.session import reading, transaction
from service.store.tables import LedgerRow, Ranking
from tests.conftest import TestClient
from tests.service.conftest import (
    DEFAULT_FINETUNE,
    DEFAULT_PROTOCOL,
    add_checkpoint,
    add_dataset,
    add_ranking,
    evaluate,
    evaluations,
    score_of,
)

TRUTH = {"a": 0.9, "b": 0.7, "c": 0.5, "d": 0.3}


def row(target: str, candidate: str, value: float, **more: Any) -> LedgerRow:
    known = {
        "kind": "outcome",
        "name": "dice",
        "higher_is_better": True,
        "comparison_group": "paper",
        "source": "paper",
        "task": "segmentation",
        "modality": "fundus",
    }
    return LedgerRow(target=target, candidate=candidate, value=value, **{**known, **more})


def fill(*rows: LedgerRow) -> None:
    with transaction() as session:
        outcomes.add(session, rows)


def table(target: str, values: dict[str, float], **more: Any) -> list[LedgerRow]:
    return [row(target, candidate, value, **more) for candidate, value in values.items()]


def history(*targets: str, order: str = "abcd", **more: Any) -> None:
    """Past targets with outcomes in this order, and scores of logme that say the same."""
    for number, target in enumerate(targets):
        values = {name: 0.9 - 0.2 * place + 0.01 * number for place, name in enumerate(order)}
        fill(*table(target, values, **more), *table(target, values, kind="score", name="logme", **more))


def records(part: Slice = Slice(), **more: Any) -> list[Any]:  # noqa: B008
    with reading() as session:
        return ledger.records(session, flags(session), part, **more)


def fill_group(group: str, values: dict[str, float], *, seed: int = 0, **more: Any) -> None:
    """Outcomes on "discs" of one comparison group: a protocol of own runs, or an import of that name."""
    fill(*table("discs", values, comparison_group=group, source=group, seed=seed, **more))


def own_group(**protocol: Any) -> str:
    """The id of a comparison group of own runs with this protocol."""
    group = own_outcomes.group_of("ac_norm", replace(DEFAULT_FINETUNE, **protocol))
    with transaction() as session:
        outcomes.add_group(session, group)
        return group.id


def test_outcomes_are_means_over_seeds(client: TestClient) -> None:
    for seed, shift in ((1, 0.0), (2, 0.1)):
        fill_group("paper", {n: v + shift for n, v in TRUTH.items()}, seed=seed)
    (found,) = records()
    assert found.outcomes == pytest.approx({n: v + 0.05 for n, v in TRUTH.items()})
    assert (found.task, found.modality, found.metric, found.left_out) == ("segmentation", "fundus", "dice", ())


def test_outcomes_of_two_protocols_are_never_averaged(client: TestClient) -> None:
    fill_group("paper", TRUTH, seed=1)
    fill_group("paper", TRUTH, seed=2)
    fill_group("toy", dict.fromkeys([*TRUTH, "late"], 0.1))
    (found,) = records()
    assert found.outcomes == TRUTH
    assert (found.group.id, found.group.seeds, found.group.outcomes) == ("paper", 2, 8)
    assert [(group.id, group.candidates) for group in found.other_groups] == [("toy", (*TRUTH, "late"))]
    assert found.left_out == ("late",)


@pytest.mark.parametrize("toy", [{"a": 0.1}, {"late": 0.9}])
def test_a_toy_run_hides_no_real_outcome(client: TestClient, toy: dict[str, float]) -> None:
    real = {"a": 0.9, "b": 0.7, "c": 0.5}
    fill_group("paper", real)
    steps = own_group(epochs=1, steps=4)
    for seed in range(5):  # however often it is repeated, one candidate compares with nothing
        fill(*table("discs", toy, comparison_group=steps, source=OWN, seed=seed))
    (found,) = client.get("/v1/agreement").json()["targets"]
    assert (found["group"]["id"], found["group"]["candidates"]) == ("paper", ["a", "b", "c"])
    [other] = found["other_groups"]
    assert (other["words"], other["candidates"], other["seeds"]) == ("ac_norm, epochs 1, steps 4", [*toy], 5)
    assert other["epochs"] == 1
    assert found["left_out_candidates"] == [name for name in toy if name not in real]
    page = client.get("/agreement").text
    assert "imported from paper" in page
    assert "ac_norm, epochs 1, steps 4" in page


def test_one_later_toy_run_hides_no_real_outcomes_of_one_candidate(client: TestClient) -> None:
    for seed in range(3):
        fill_group("paper", {"a": 0.9}, seed=seed)
    fill(row("discs", "a", 0.1, comparison_group=own_group(epochs=1, steps=4), source=OWN))
    (found,) = records()
    assert (found.outcomes, found.group.outcomes) == ({"a": pytest.approx(0.9)}, 3)
    assert [group.words for group in found.other_groups] == ["ac_norm, epochs 1, steps 4"]


def test_of_as_many_outcomes_the_longer_training_counts_then_the_latest(client: TestClient) -> None:
    values = {"a": 0.4, "b": 0.5}
    whole, short = own_group(epochs=9), own_group(epochs=9, steps=4)
    for group in (whole, own_group(epochs=3), short):
        fill_group(group, values)
    assert [records()[0].group.id, *(group.id for group in records()[0].other_groups)][:2] == [whole, short]
    fill_group("an import", values)
    assert records()[0].group.id == "an import"
    fill_group("a later import", values)
    assert records()[0].group.id == "a later import"


def test_the_caller_chooses_the_group(client: TestClient) -> None:
    history("x", "y")
    fill_group("paper", TRUTH, seed=1)
    fill_group("toy", {"a": 0.1, "b": 0.2})
    fill(*table("discs", TRUTH, kind="score", name="logme"))
    chosen = client.get("/v1/agreement", params={"protocol": "toy"}).json()
    [target] = chosen["targets"]
    assert (target["name"], target["group"]["id"], target["candidates"]) == ("discs", "toy", 2)
    assert [group["id"] for group in target["other_groups"]] == ["paper"]
    assert target["left_out_candidates"] == ["c", "d"]
    assert chosen["measures"]["logme"]["weighted_tau"] == -1
    assert client.get("/v1/agreement", params={"target": "discs"}).json()["measures"]["logme"]["weighted_tau"] == 1
    unknown = client.get("/v1/agreement", params={"protocol": "nothing"})
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (422, "protocol")
    page = client.get("/agreement", params={"protocol": "toy"}).text
    assert '<option value="toy" selected>imported from toy</option>' in page


def test_a_group_in_another_metric_is_named_too(client: TestClient) -> None:
    fill_group("paper", TRUTH, name="auc")
    fill_group("toy", {"a": 0.1, "late": 0.2}, name="dice")
    (found,) = records()
    assert (found.metric, found.outcomes, found.left_out) == ("auc", TRUTH, ("late",))
    assert [(group.id, group.metric) for group in found.other_groups] == [("toy", "dice")]
    assert records(Slice(group="toy"))[0].metric == "dice"


def test_the_metric_that_most_have_and_the_sign(client: TestClient) -> None:
    fill(*table("discs", {"a": 30.0, "b": 10.0, "c": 20.0}, name="hd95", higher_is_better=False))
    fill(*table("discs", {"a": 0.5, "b": 0.6}))
    (found,) = records()
    assert (found.metric, found.outcomes, found.left_out) == ("hd95", {"a": -30.0, "b": -10.0, "c": -20.0}, ())
    assert records(Slice(metric="dice"))[0].outcomes == {"a": 0.5, "b": 0.6}


def test_a_registered_dataset_says_what_its_name_means(client: TestClient) -> None:
    fill(*table("discs", TRUTH, task=None, modality=None))
    with transaction() as session:
        add_dataset(session, "discs", modality="OCT", cohort="clinic")
        add_checkpoint(session, "a")
        add_checkpoint(session, "b", architecture="wnet")
    (found,) = records()
    assert (found.task, found.modality, found.cohort) == ("segmentation", "OCT", "clinic")
    assert records(Slice(modality="OCT"))[0].outcomes == TRUTH
    assert records(Slice(modality="fundus")) == []
    assert records(Slice(architecture="wnet"))[0].outcomes == {"b": 0.7}
    assert records(Slice(source_task="segmentation"))[0].outcomes == {"a": 0.9, "b": 0.7}


def test_own_scores_are_sound_and_of_one_protocol(client: TestClient) -> None:
    fill(*table("discs", TRUTH, source=OWN))
    with transaction() as session:
        first = add_ranking(session, ["a", "b", "c"])
        rows = {name: one.id for name, one in evaluations(session, first).items()}
        second = Ranking(
            dataset_id=first.dataset_id,
            measures=["logme"],
            order_by="logme",
            protocol=replace(DEFAULT_PROTOCOL, seed=9),
            finetune_protocol=DEFAULT_FINETUNE,
            finetune_method="ac_norm",
        )
        requests.add_ranking(session, second, [one.checkpoint for one in rank(session, first).candidates[:2]])
        again = {name: one.id for name, one in evaluations(session, second).items()}
    evaluate(rows["a"], score_of(1.0, measure="logme"))
    evaluate(rows["b"], score_of(2.0, measure="logme"))
    evaluate(rows["c"], score_of(3.0, "saturated", measure="logme"))
    for name in again:
        evaluate(again[name], score_of(9.0, measure="logme"))
    assert records(protocol=DEFAULT_PROTOCOL)[0].scores == {"logme": {"a": 1.0, "b": 2.0}}
    assert records(protocol=replace(DEFAULT_PROTOCOL, seed=9))[0].scores == {"logme": dict.fromkeys(again, 9.0)}


def test_agreement_over_http(client: TestClient) -> None:
    history("x", "y", "z")
    fill(*table("x", {"a": 0.0, "b": 1.0, "c": 2.0, "d": 3.0}, kind="score", name="wrong"))
    fill(*table("y", dict.fromkeys("abcd", 1.0), kind="score", name="wrong"))
    fill(*table("unscored", {"a": 0.5, "b": 0.6}, task="classification"))
    found = client.get(
        "/v1/agreement", params={"task": "segmentation", "thorough": True, "by_target": True}
    ).json()
    assert [one["name"] for one in found["targets"]] == ["x", "y", "z"]
    assert list(found["measures"])[-1] == "wrong"
    right, wrong = found["measures"]["logme"], found["measures"]["wrong"]
    assert (right["weighted_tau"], right["hits"], right["regret"], right["targets"]) == (1.0, 3.0, 0.0, 3)
    assert right["p"] < 0.01
    assert right["intervals"]["targets"] == [1.0, 1.0]
    assert [one["target"] for one in right["by_target"]] == ["x", "y", "z"]
    assert (wrong["weighted_tau"], wrong["targets"], wrong["no_ranking"]) == (-1.0, 1, 1)
    assert wrong["regret"] == pytest.approx(0.6)
    assert found["measures"]["history_prior"]["weighted_tau"] == 1.0
    told = found["answers"]
    assert (told["targets"], sum(told["kinds"].values()), told["regret"], told["within"]) == (3, 3, 0.0, 1.0)
    whole = client.get("/v1/agreement").json()
    assert len(whole["targets"]) == 4
    assert whole["measures"]["logme"]["p"] is None


def test_test_images_are_drawn_again_where_that_is_asked_for(client: TestClient) -> None:
    for name, value in TRUTH.items():
        images = [value - 0.01, None, value + 0.01]
        fill(row("x", name, value, cases=images), row("x", name, value, kind="score", name="logme"))
    thorough, quick = (
        client.get("/v1/agreement", params={"thorough": asked}).json()["measures"]["logme"]
        for asked in (True, False)
    )
    assert thorough["intervals"]["cases"] == [1, 1]
    assert "cases" not in quick["intervals"]
    assert quick["p"] is None
    assert records(cases=True)[0].cases["a"] == pytest.approx((0.89, 0.91))
    assert records()[0].cases == {}


def test_measures_stand_by_their_tau_also_at_zero(sqlite_client: TestClient) -> None:
    history("x")
    reversed_scores = dict(zip("abcd", (0.0, 1.0, 2.0, 3.0), strict=True))
    fill(*table("x", reversed_scores, kind="score", name="wrong"))
    fill(*table("x", {"a": 3.0, "b": 1.0}, kind="score", name="right"))
    fill(*table("x", dict.fromkeys("abcd", 1.0), kind="score", name="constant"))
    fill(row("y", "a", 0.9), row("y", "b", 0.1), row("y", "a", 1.0, kind="score", name="nothing"))
    fill(row("y", "b", 2.0, kind="score", name="nothing"))
    fill(*table("x", {"a": 2.0, "b": 1.0}, kind="score", name="nothing"))  # 1 and -1: nothing in the mean
    found = sqlite_client.get("/v1/agreement").json()["measures"]
    assert found["nothing"]["weighted_tau"] == 0
    assert [name for name in found if name in ("right", "nothing", "wrong", "constant")] == [
        "right",
        "nothing",
        "wrong",
        "constant",
    ]


def test_an_empty_ledger_has_no_agreement(client: TestClient) -> None:
    found = client.get("/v1/agreement").json()
    assert (found["targets"], found["measures"], found["answers"]["targets"]) == ([], {}, 0)
    assert "No outcome is known yet" in client.get("/agreement").text


def test_an_unknown_ranking_is_named(sqlite_client: TestClient) -> None:
    answer = sqlite_client.get("/v1/agreement", params={"ranking": "rk_none"})
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["field"] == "ranking"


def test_the_page_shows_the_track_record_by_slice(client: TestClient) -> None:
    history("x", "y", "z <b>")
    page = client.get("/agreement", params={"task": "segmentation", "target": ""}).text
    assert "logme" in page
    assert "3 of 3" in page
    assert "z &lt;b&gt;" in page
    assert '<circle class="point" cx="160.0"' in page
    assert "No target of this slice" in client.get("/agreement", params={"task": "classification"}).text


def ranked_for(client: TestClient, scores: dict[str, float], **more: Any) -> Any:
    """A finished ranking of four candidates on a new fundus dataset, by default in the fused order."""
    with transaction() as session:
        dataset = add_dataset(session, "new", modality="fundus", cohort="clinic")
        ranking = add_ranking(session, list(scores), dataset_id=dataset.id, **{"order_by": "fused", **more})
        rows = {name: one.id for name, one in evaluations(session, ranking).items()}
    for name, value in scores.items():
        facts = {"flags": [], "width": 8, "seconds": 1.0, "finetune_epoch_seconds": 1.0 + len(name)}
        evaluate(rows[name], score_of(value), score_of(value, measure="logme"), facts=facts)
    return client.get(f"/v1/rankings/{ranking.id}").json()


def test_without_history_published_trust_decides_and_the_list_says_so(client: TestClient) -> None:
    shown = ranked_for(client, {"a": 0.1, "b": 0.2, "c": 0.9, "d": 0.3})
    assert [one["candidate"]["name"] for one in shown["ranked"]] == ["c", "d", "b", "a"]
    assert shown["answer"]["first"]["name"] == "c"
    assert (shown["answer"]["past_targets"], shown["answer"]["past"]) == (0, None)
    assert shown["answer"]["weights"] == {"one_epoch_outcome": pytest.approx(0.15)}
    assert shown["track_record"]["measures"] == dict.fromkeys(["fused", "history_prior", *shown["measures"]])
    assert "history_prior" not in shown["ranked"][0]["scores"]
    assert shown["notes"][0] == (
        "Thin history: this order rests on what studies have published of these measures."
    )


def test_history_orders_and_each_measure_shows_its_record(client: TestClient) -> None:
    history("x", "y", "z", order="dcba")
    history("sibling", order="abcd", cohort="clinic")
    shown = ranked_for(client, {"a": 0.3, "b": 0.3, "c": 0.3, "d": 0.3})
    assert [one["candidate"]["name"] for one in shown["ranked"]] == ["d", "c", "b", "a"]
    assert shown["track_record"]["targets"] == ["x", "y", "z"]
    assert shown["track_record"]["similar"] == "3 segmentation targets, fundus"
    assert shown["track_record"]["measures"]["logme"]["weighted_tau"] == 1.0
    assert shown["track_record"]["measures"]["one_epoch_outcome"] is None
    assert shown["ranked"][0]["scores"]["history_prior"]["value"] == pytest.approx(0.3)
    assert shown["answer"]["first"]["name"] == "d"
    assert shown["answer"]["past"]["targets"] == 3
    low, high = shown["answer"]["regret_interval"]
    assert low <= shown["answer"]["expected_regret"] <= high
    assert "On 3 past targets such answers expected a cost of " in shown["answer"]["text"]


def test_few_similar_targets_widen_to_the_task_and_say_so(client: TestClient) -> None:
    history("x", "y")
    history("ct", modality="CT")
    shown = ranked_for(client, TRUTH)
    assert shown["track_record"]["targets"] == ["ct", "x", "y"]
    assert shown["track_record"]["similar"] == "3 segmentation targets, any modality"


def test_a_measure_that_its_own_record_refutes_is_named(client: TestClient) -> None:
    for target in ("x", "y", "z"):
        fill(*table(target, TRUTH), *table(target, {n: -v for n, v in TRUTH.items()}, kind="score", name="logme"))
    shown = ranked_for(client, TRUTH, order_by="logme")
    assert any("its own track record speaks against" in note for note in shown["notes"])
    assert shown["answer"]["weights"]["logme"] < 0
    with transaction() as session:
        session.query(LedgerRow).delete()
    again = client.get(f"/v1/rankings/{shown['id']}", params={"as_of": "now"}).json()
    assert not any("speaks against" in note for note in again["notes"])


def test_outcomes_of_this_target_are_shown_and_come_first(client: TestClient) -> None:
    fill(row("new", "b", 0.81), row("new", "d", 0.91))
    shown = ranked_for(client, TRUTH)
    known = {one["candidate"]["name"]: one["outcome"] for one in shown["ranked"]}
    assert known == {"a": None, "b": 0.81, "c": None, "d": 0.91}
    order = [one["candidate"]["name"] for one in shown["ranked"]]
    assert order.index("d") < order.index("b")  # against their scores


def test_what_the_evidence_does_not_single_out_is_a_shortlist(client: TestClient) -> None:
    orders = ("abcd", "bcad", "cabd")
    for target, order in zip(("x", "y", "z"), orders, strict=True):
        history(target, order=order)
    shown = ranked_for(client, dict.fromkeys("abcd", 0.5))
    answer = shown["answer"]
    assert answer["kind"] == "shortlist"
    assert {one["name"] for one in answer["shortlist"][:2]} <= {"a", "b", "c"}
    assert answer["cover"] >= 1 - answer["risk"] > answer["within"]
    assert answer["next_run"] == answer["first"] == answer["shortlist"][0]
    assert 0 < answer["next_run_seconds"] < answer["shortlist_seconds"]
    assert "does not single one out" in answer["text"]
    assert "does not single one out" in client.get(f"/rankings/{shown['id']}").text


def test_finetunes_start_from_the_fused_order(client: TestClient) -> None:
    history("x", "y", "z", order="dcba")
    shown = ranked_for(client, dict.fromkeys("abcd", 0.5), finetune_top=1)
    run = client.get(f"/v1/finetune-runs/{shown['finetune_runs'][0]}").json()
    assert run["checkpoint"]["name"] == "d"


def test_a_candidate_of_whom_nothing_that_counts_is_known_has_no_place(client: TestClient) -> None:
    with transaction() as session:
        ranking = add_ranking(session, ["a", "b"], order_by="fused")
        rows = {name: one.id for name, one in evaluations(session, ranking).items()}
    evaluate(rows["a"], score_of(0.5))
    evaluate(rows["b"], score_of(None, "not_applicable"), score_of(0.5, measure="logme"))
    shown = client.get(f"/v1/rankings/{ranking.id}").json()
    assert [(one["position"], one["candidate"]["name"]) for one in shown["ranked"]] == [(1, "a"), (None, "b")]
    assert shown["ranked"][1]["scores"]["fused"]["reason"].startswith("no measure that counts")
