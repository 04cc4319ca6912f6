"""Words and numbers for people, and the coordinates of the drawings beside them."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from rich.console import Console

from service.api.web.charts.bars import bars
from service.api.web.charts.curves import MOST_POINTS, curves
from service.api.web.charts.dots import correlation_dot
from service.client import present
from service.client.terminal import tables

RECORD: dict[str, Any] = {
    "targets": 4,
    "weighted_tau": 0.5801,
    "kendall_tau": 0.444,
    "hits": 2.5,
    "regret": 0.00612345,
    "intervals": {"targets": [0.3612, 0.744], "candidates": [0.21, 0.79]},
}


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.123456, "0.1235"), (5.0, "5"), (42, "42"), (None, ""), ("adam", "adam"), (True, "True")],
)
def test_numbers_have_four_significant_digits(value: object, expected: str) -> None:
    assert present.number(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, ""),
        (0.04, "0.0 seconds"),
        (9.94, "9.9 seconds"),
        (9.95, "10 seconds"),
        (90, "90 seconds"),
        (900, "15 minutes"),
        (7199, "120 minutes"),
        (7560, "2.1 hours"),
    ],
)
def test_durations_in_words(seconds: float | None, expected: str) -> None:
    assert present.duration(seconds) == expected


def test_seconds_in_a_column_have_no_exponent() -> None:
    assert [present.seconds(value) for value in (None, 0.25, 12.25, 999.96, 12345.6)] == [
        "",
        "0.25",
        "12.25",
        "1000",
        "12346",
    ]


def test_a_moment_is_written_in_utc() -> None:
    east = timezone(timedelta(hours=2))
    assert present.moment(datetime(2026, 1, 31, 10, 5, tzinfo=east)) == "2026-01-31 08:05 UTC"
    assert present.moment(datetime(2026, 1, 31, 10, 5, tzinfo=UTC)) == "2026-01-31 10:05 UTC"
    assert present.moment(None) == ""


def test_a_track_record_in_short() -> None:
    ends = present.main_interval(RECORD["intervals"])
    assert present.track_record(RECORD["weighted_tau"], ends, targets=4) == "tau 0.58 [0.36, 0.74] on 4"
    assert present.track_record(-0.2, targets=1) == "tau -0.20 on 1"
    assert present.track_record(None) == "no history yet"
    assert present.main_interval({"candidates": [0.21, 0.79]}) == [0.21, 0.79]
    assert present.main_interval({}) is None


def test_scores_counts_and_progress() -> None:
    assert (present.score(None), present.score(0.71)) == ("n/a", "0.71")
    assert (present.correlation(None), present.correlation(1.0)) == ("", "1.00")
    assert (present.interval(None), present.interval((0.361, 0.744))) == ("", "0.36 to 0.74")
    assert [present.counted(count, "epoch") for count in (0, 1, 2)] == ["0 epochs", "1 epoch", "2 epochs"]
    assert present.counts({"done": 4, "failed": 1}) == "4 done, 1 failed"
    assert (present.steps(3, 12), present.steps(0, 0)) == ("3/12", "")


def _printed(what: Any) -> str:
    screen = Console(file=io.StringIO(), width=160)
    screen.print(what)
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


GROUP = {"id": "paper", "words": "imported from paper", "metric": "dice", "candidates": ["a", "b"], "seeds": 1}
TARGET = {"name": "x", "group": GROUP, "other_groups": [{**GROUP, "words": "ac_norm, epochs 1"}]}


def test_the_terminal_writes_agreements_with_them() -> None:
    constant = {**RECORD, "weighted_tau": None, "kendall_tau": None, "regret": None, "intervals": {}}
    printed = _printed(tables.agreements({"targets": [TARGET], "measures": {"logme": RECORD, "flat": constant}}))
    for expected in (
        "the outcomes of 1 target",
        "0.58",
        "0.36 to 0.74",
        "2.5 of 4",
        "0.006123",
        "no ranking",
        "ac_norm, epochs 1",
    ):
        assert expected in printed
    empty = _printed(tables.agreements({"targets": [], "measures": {}}))
    assert empty == "No target has scores beside its outcomes yet.\n"


def test_the_terminal_writes_a_list_and_its_cost_with_them() -> None:
    unsure = {"value": None, "position": None, "flags": ["not_applicable"]}
    row = {
        "position": 1,
        "candidate": {"name": "vessels", "percent_loaded": 100.0},
        "state": "done",
        "reason": None,
        "scores": {"knn": {"value": 0.71239, "position": 1, "flags": []}, "logme": unsure},
        "flags": [],
        "seconds": 12.25,
        "reused_from": "ev_1",
    }
    ranking = {
        "id": "rk_1",
        "note": None,
        "dataset": {"name": "discs"},
        "order_by": "knn",
        "measures": ["knn", "logme"],
        "ranked": [row],
        "track_record": {"similar": "4 targets", "measures": {"knn": RECORD, "logme": None}},
        "answer": {
            "text": "Use a: it leads.",
            "at": "2026-11-24T10:00:00Z",
            "revision": 1,
            "latest_revision": 2,
            "ledger_revision": 7,
            "comparison_group": {"id": "paper", "words": "imported from paper"},
            "newer": None,
        },
        "notes": [],
        "finetune_seconds": 900.0,
        "finetune_runs": [],
    }
    printed = _printed(tables.ranked_list(ranking, url="http://z"))
    for expected in (
        "0.7124 (1)",
        "12.25 reused",
        "tau 0.58 [0.36, 0.74] on 4",
        "vessels n/a * not_applicable",
        "The newest one is revision 2. Where a target",
        "no history yet",
        "A full finetune of the first candidate takes about 15 minutes.",
    ):
        assert expected in printed
    cost = {"candidates": 1, "epochs_per_candidate": 5, "null_epochs_per_candidate": 4, "epochs": 5, "steps": 10}
    assert tables.cost({**cost, "seconds": 900.0, "seconds_from": "past evaluations"}) == (
        "1 candidate, 5 training epochs each, 4 on permuted labels: 5 epochs, 10 steps in all.\n"
        "About 15 minutes, by past evaluations."
    )


def test_bars_share_one_scale_that_includes_zero() -> None:
    drawn = bars({"best": 3.0, "worst": -1.0, "flagged": 1.0}, sound={"best", "worst"})
    assert [(bar.x, bar.width, bar.zero) for bar in drawn.values()] == [
        (37.5, 112.5, 37.5),
        (0.0, 37.5, 37.5),
        (37.5, 37.5, 37.5),
    ]
    assert [bar.sound for bar in drawn.values()] == [True, True, False]
    assert bars({}, sound=()) == {}
    assert bars({"a": 0.0}, sound=())["a"].width == 0.0


def test_curves_share_one_scale_and_keep_few_points() -> None:
    drawn = curves({"a": [1.0, None, 0.5, 0.0], "b": [0.5, 0.25], "short": [9.0], "long": [0.1] * 1000})
    assert drawn["b"].points == "0.0,26.4 120.0,27.2"
    assert set(drawn) == {"a", "b", "long"}
    assert len(drawn["a"].points.split()) == 3
    assert MOST_POINTS <= len(drawn["long"].points.split()) < 2 * MOST_POINTS
    assert curves({"a": [], "b": [None, None]}) == {}
    assert curves({"flat": [0.3, 0.3]})["flat"].points == "0.0,28.0 120.0,28.0"


def test_a_correlation_stands_between_minus_one_and_one() -> None:
    dot = correlation_dot(0.58, (0.36, 1.0))
    assert (dot.x, dot.interval, dot.zero, dot.span) == (126.4, (108.8, 160.0), 80.0, 160)
    nothing = correlation_dot(None, None)
    assert (nothing.x, nothing.interval) == (None, None)
