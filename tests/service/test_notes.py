"""Every sentence under a ranked list is true of that list: each note on a list with and without its subject."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import update

from service.store import outcomes
from service.store.contents import Preflight
from service.store.session import transaction
from service.store.tables import Checkpoint, LedgerRow
from tests.conftest import TestClient
from tests.service.conftest import (
    CAPABILITIES,
    add_dataset,
    add_ranking,
    evaluate,
    evaluations,
    fail,
    score_of,
)

FROZEN, TRAINED = ["logme"], ["logme", "one_epoch_outcome", "ac_corr"]
NARROW = {"width": 8, "seconds": 1.0}
COMMON = {"higher_is_better": True, "task": "segmentation", "modality": "fundus"}


@dataclass(frozen=True)
class Listed:
    """What a list is made of: the scores and facts of its candidates, the request, and past outcomes."""

    measures: list[str]
    scores: dict[str, dict[str, Any]]  # candidate -> measure -> value, or value and flags
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    past: dict[str, str] = field(default_factory=dict)  # target -> its candidates, the best first
    past_scores: dict[str, list[float]] = field(default_factory=dict)  # measure -> scores on every past target
    trials: dict[str, str] = field(default_factory=dict)  # target -> candidates with an outcome of another import
    partly_loaded: str = ""  # a candidate

    def shown(self, client: TestClient) -> dict[str, Any]:
        """The finished ranking over HTTP."""
        with transaction() as session:
            outcomes.add(session, [row for target in self.past for row in self._history(target)])
            outcomes.add(session, [row for target in self.trials for row in self._trial(target)])
            dataset = add_dataset(session, "new", modality="fundus")
            asked = {"order_by": self.measures[0], **self.request}
            ranking = add_ranking(
                session, list(self.scores), dataset_id=dataset.id, measures=self.measures, **asked
            )
            rows = {name: row.id for name, row in evaluations(session, ranking).items()}
            half = Preflight(tensors=9, loaded=6, percent_loaded=69.0)
            partly_loaded = update(Checkpoint).where(Checkpoint.name == self.partly_loaded)
            session.execute(partly_loaded.values(preflight=half))
        for name, of_candidate in self.scores.items():
            scores = [
                score_of(*(value if isinstance(value, tuple) else (value,)), measure=measure)
                for measure, value in of_candidate.items()
            ]
            if scores:
                evaluate(rows[name], *scores, facts={**NARROW, **self.facts.get(name, {})})
            else:
                fail(rows[name], "the file is gone")
        shown: dict[str, Any] = client.get(f"/v1/rankings/{ranking.id}").json()
        return shown

    def _history(self, target: str) -> list[LedgerRow]:
        common = {**COMMON, "target": target, "source": "paper", "comparison_group": "paper"}
        ranks = list(enumerate(self.past[target]))
        rows = [
            LedgerRow(kind="outcome", name="dice", candidate=name, value=0.9 - place / 10, **common)
            for place, name in ranks
        ]
        rows += [
            LedgerRow(kind="score", name=measure, candidate=name, value=values[place], **common)
            for measure, values in self.past_scores.items()
            for place, name in ranks
        ]
        return rows

    def _trial(self, target: str) -> list[LedgerRow]:
        common = {**COMMON, "target": target, "source": "trial", "comparison_group": "trial"}
        return [
            LedgerRow(kind="outcome", name="dice", candidate=name, value=0.1, **common)
            for name in self.trials[target]
        ]


def scored(measures: list[str], **more: Any) -> Listed:
    """A list of two candidates with sound scores of these measures."""
    values = {"a": 0.2, "b": 0.1}
    scores = {name: dict.fromkeys(measures, value) for name, value in values.items()}
    return Listed(**{"measures": measures, "scores": scores, **more})


WIDE = {"b": {"width": 64}}
FEW = {name: {"flags": ["few_steps", "no_affine_norm"]} for name in "ab"}
THREE = dict.fromkeys("xyz", "ab")
NOTES: dict[str, tuple[Listed, Listed]] = {  # how a note begins -> lists with and without its subject
    "mixed_widths: ": (scored(TRAINED, facts=WIDE), scored(FROZEN, facts=WIDE)),
    "few_steps: ": (scored(TRAINED, facts=FEW), scored(FROZEN, facts=FEW)),
    "no_affine_norm: ": (scored(TRAINED, facts=FEW), scored(FROZEN, facts=FEW)),
    "not_applicable: ": (scored(FROZEN), scored(TRAINED)),  # nothing that counts is known: no fused score
    "saturated: ": (
        scored(FROZEN, scores={"a": {"logme": (0.2, "saturated")}, "b": {"logme": 0.1}}),
        scored(FROZEN),
    ),
    "Not placed, since their logme is missing or flagged: a.": (
        scored(FROZEN, scores={"a": {"logme": (0.2, "saturated")}, "b": {"logme": 0.1}}),
        scored(FROZEN, scores={"a": {}, "b": {"logme": 0.1}}),
    ),
    "Thin history: this order rests on what studies have published of these measures.": (
        scored(TRAINED, request={"order_by": "fused"}),
        scored(FROZEN, request={"order_by": "fused"}),  # no study knows this measure, so nothing is placed
    ),
    "Thin history: this order rests on outcomes on 2 past targets.": (
        scored(FROZEN, request={"order_by": "history_prior"}, past={"x": "ab", "y": "ab", "alone": "a"}),
        scored(FROZEN, request={"order_by": "history_prior"}, past=THREE),
    ),
    "Thin history: this order rests on outcomes on 1 past target and on what": (
        scored(TRAINED, request={"order_by": "fused"}, past={"x": "ab", "alone": "a", "other": "b"}),
        scored(FROZEN, request={"order_by": "fused"}, past={"x": "ab"}),
    ),
    "On new dice of a, b (imported from paper) count. Left out: dice of a (imported from trial).": (
        scored(FROZEN, past={"new": "ab"}, trials={"new": "a"}),
        scored(FROZEN, past={"new": "ab"}, trials={"elsewhere": "ab"}),
    ),
    "On new dice of c, d, e (imported": (
        scored(FROZEN, past={"new": "cde"}, trials={"new": "ac"}),
        scored(FROZEN, past={"new": "cde"}, trials={"new": "cd"}),  # no candidate of this list
    ),
    "On x dice of a, b, c (imported from paper) count. Left out: dice of a, d (imported from trial).": (
        scored(FROZEN, past={"x": "abc", "y": "ab"}, trials={"x": "ad"}),
        scored(FROZEN, past={"x": "abc", "y": "ab"}),
    ),
    "logme: its own track record speaks against this order.": (
        scored(FROZEN, past=THREE, past_scores={"logme": [0.1, 0.2]}),
        scored(
            FROZEN, past={"x": "ab", "y": "ab", **dict.fromkeys("uvw", "a")}, past_scores={"logme": [0.1, 0.2]}
        ),
    ),
}


KNOWN = (*(beginning.partition(" logme")[0] for beginning in NOTES), "Thin history: ", "partly_loaded: ")


def noted(shown: dict[str, Any], beginning: str) -> bool:
    """Whether the list has this note. A new note belongs in NOTES, with a list that lacks its subject."""
    assert [note for note in shown["notes"] if not note.startswith(KNOWN)] == []
    return any(note.startswith(beginning) for note in shown["notes"])


@pytest.mark.parametrize("beginning", NOTES)
def test_a_note_is_under_lists_with_its_subject_only(sqlite_client: TestClient, beginning: str) -> None:
    with_subject, _ = NOTES[beginning]
    shown = with_subject.shown(sqlite_client)
    assert noted(shown, beginning), shown["notes"]
    flag = beginning.partition(":")[0]
    if flag in CAPABILITIES["flag"] and with_subject.facts:
        assert flag in shown["flags"]


@pytest.mark.parametrize("beginning", NOTES)
def test_a_note_is_not_under_lists_without_its_subject(sqlite_client: TestClient, beginning: str) -> None:
    shown = NOTES[beginning][1].shown(sqlite_client)
    assert not noted(shown, beginning), shown["notes"]
    flag = beginning.partition(":")[0]
    assert flag not in shown["flags"]
    assert all(flag not in row["flags"] and flag not in row["facts"]["flags"] for row in shown["ranked"])


def test_partly_loaded_candidates_are_not_said_to_lack_a_score(sqlite_client: TestClient) -> None:
    shown = scored(FROZEN, partly_loaded="b").shown(sqlite_client)
    assert [(row["candidate"]["name"], row["position"]) for row in shown["ranked"]] == [("a", 1), ("b", None)]
    assert shown["flags"] == ["partly_loaded"]
    assert not noted(shown, "Not placed")


def test_widths_are_mixed_only_among_candidates_that_the_measure_scored(sqlite_client: TestClient) -> None:
    scores = {"a": {"ac_corr": 0.2}, "b": {"ac_corr": (None, "not_applicable")}}
    shown = Listed(["ac_corr"], scores, facts=WIDE).shown(sqlite_client)
    assert shown["flags"] == []


def test_only_targets_that_compare_candidates_are_past_targets(sqlite_client: TestClient) -> None:
    alone = {f"alone{number}": "ab"[number % 2] for number in range(5)}
    listed = scored(TRAINED, request={"order_by": "fused"}, past={**THREE, "u": "ba", **alone})
    shown = listed.shown(sqlite_client)
    assert shown["answer"]["past_targets"] == 4
    assert "learned from 4 past targets" in shown["answer"]["text"]
    assert shown["track_record"]["similar"] == "4 segmentation targets, fundus"
    assert shown["track_record"]["targets"] == ["u", "x", "y", "z"]
    assert shown["ranked"][0]["scores"]["history_prior"]["value"] is not None


def test_without_targets_to_learn_from_the_answer_does_not_say_that_no_outcome_is_known(
    sqlite_client: TestClient,
) -> None:
    shown = scored(TRAINED, request={"order_by": "fused"}, past={"alone": "a"}).shown(sqlite_client)
    assert "no past target of this task to learn from" in shown["answer"]["text"]
    assert shown["track_record"]["similar"] == "no past segmentation target has outcomes of two candidates"


def test_of_many_divided_targets_the_first_are_named(sqlite_client: TestClient) -> None:
    many = dict.fromkeys("tuvwxyz", "abc")
    shown = scored(FROZEN, past=many, trials=dict.fromkeys("tuvwxyz", "ab")).shown(sqlite_client)
    divided = [note for note in shown["notes"] if "Left out: " in note]
    assert [note.split()[1] for note in divided] == list("tuvwx")
    assert (
        "Outcomes of other protocols are left out on 2 more targets; the agreement lists them." in shown["notes"]
    )


def page_of(client: TestClient, listed: Listed) -> str:
    return client.get(f"/rankings/{listed.shown(client)['id']}").text


LOSSES = {name: {"losses": [1.0, 0.5, 0.25]} for name in "ab"}
SENTENCES: dict[str, tuple[Listed, Listed]] = {  # of the page -> lists with and without their subject
    "so do all loss curves": (scored(TRAINED, facts=LOSSES), scored(FROZEN, facts=LOSSES)),
    "<th>Loss</th>": (scored(TRAINED, facts=LOSSES), scored(TRAINED)),
    "The figures are agreements": (
        scored(FROZEN, past=THREE, past_scores={"logme": [0.2, 0.1]}),
        scored(FROZEN, past={"alone": "a"}),
    ),
    "A full finetune of the first candidate": (
        scored(TRAINED, facts={name: {"finetune_epoch_seconds": 1.0} for name in "ab"}),
        scored(FROZEN),
    ),
    "No candidate has a place": (
        scored(FROZEN, scores={"a": {"logme": (0.2, "saturated")}}),
        scored(FROZEN),
    ),
}


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("has_subject", [True, False])
def test_a_sentence_of_the_page_is_there_with_its_subject_only(
    sqlite_client: TestClient, sentence: str, has_subject: bool
) -> None:
    listed = SENTENCES[sentence][0 if has_subject else 1]
    assert (sentence in page_of(sqlite_client, listed)) is has_subject


def test_a_shortlist_says_its_time_only_where_all_times_are_known(sqlite_client: TestClient) -> None:
    alike = scored(
        TRAINED,
        scores={name: dict.fromkeys(TRAINED, 0.5) for name in "abc"},
        request={"order_by": "fused"},
        past={"x": "abc", "y": "bca", "z": "cab"},
        facts={"a": {"finetune_epoch_seconds": 1.0}},
    )
    answer = alike.shown(sqlite_client)["answer"]
    assert (answer["kind"], answer["shortlist_seconds"]) == ("shortlist", None)
    assert "That takes about" not in answer["text"]
