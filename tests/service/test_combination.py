"""What is expected of candidates by past targets and scores, and what is decided from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from service.ledger.statistics.combination import (
    Combination,
    Terms,
    answers,
    combine,
    leave_one_out,
    model_of,
)
from service.ledger.statistics.decision import Kind, conditional, decide
from service.ledger.statistics.mixed_model import Prediction
from service.ledger.statistics.spread import spread
from service.ledger.statistics.target_record import TargetRecord

NAMES = "abcd"
OUTCOMES = [[0.1, 0.3, 0.5, 0.7], [0.2, 0.3, 0.5, 0.8], [0.1, 0.4, 0.5, 0.9], [0.3, 0.4, 0.6, 0.7]]
UP = {"m": dict(zip(NAMES, (1.0, 2.0, 3.0, 4.0), strict=True))}


def record(
    target: str, values: Sequence[float], scores: Mapping[str, Sequence[float]] | None = None
) -> TargetRecord:
    by_name = {name: dict(zip(NAMES, of, strict=False)) for name, of in (scores or {}).items()}
    return TargetRecord(target, dict(zip(NAMES, values, strict=False)), by_name, metric="dice")


def past(**sign: float) -> list[TargetRecord]:
    """Four targets with one order, and measures whose scores are the outcomes times these signs."""
    return [
        record(str(i), values, {name: [factor * value for value in values] for name, factor in sign.items()})
        for i, values in enumerate(OUTCOMES)
    ]


def combined(
    records: Sequence[TargetRecord],
    scores: Mapping[str, Mapping[str, float]] = UP,
    candidates: Sequence[str] = NAMES,
    trust: Mapping[str, float] | None = None,
    **more: object,
) -> Combination:
    model = model_of(records, trust or {}, scores)
    return combine(model, scores, list(candidates), Terms("dice"), **more)  # type: ignore[arg-type]


def order(found: Combination) -> str:
    return "".join(sorted(found.candidates, key=lambda name: -found.values[found.candidates.index(name)]))


def test_a_measure_that_was_right_has_a_slope_and_one_that_was_wrong_has_none_above_zero() -> None:
    found = combined(
        past(right=1.0, wrong=-1.0), {"right": {}, "wrong": {}, "new": {}, "known": {}}, trust={"known": 0.3}
    )
    assert found.slopes["right"] > 0.1
    assert found.slopes["wrong"] < 0
    assert found.slopes["new"] == pytest.approx(0)
    assert found.slopes["known"] == pytest.approx(0.15)


def test_published_trust_gives_way_to_eleven_records_against_it() -> None:
    chance = np.random.default_rng(0)
    against = []
    for number in range(11):
        values = chance.random(4)
        against.append(record(str(number), values.tolist(), {"m": (-values).tolist()}))
    assert combined(against, trust={"m": 0.4}).slopes["m"] < 0


def test_without_history_published_measures_alone_decide() -> None:
    found = combined([], trust={"m": 0.4})
    assert order(found) == "dcba"
    assert (found.targets, found.in_units) == (0, True)
    assert combined([]).values == pytest.approx(0)


def test_without_scores_history_alone_decides() -> None:
    assert order(combined(past(), {})) == "dcba"


def test_more_history_makes_the_answer_surer() -> None:
    known = past(m=1.0)
    little, much = (combined(records, trust={"m": 0.4}).decision for records in (known[:1], known))
    assert little is not None
    assert much is not None
    assert much.within[3] > little.within[3]
    assert much.best.sum() == pytest.approx(1)
    assert much.regret.tolist() == sorted(much.regret, reverse=True)


def test_leaving_a_target_out_is_not_having_had_it() -> None:
    records = past(m=1.0, n=0.5)
    whole = model_of(records, {"m": 0.3}, ["m", "n"])
    less = model_of(records[1:], {"m": 0.3}, ["m", "n"])
    one, other = whole.without(["0"]), less.without([])
    assert one.slopes == pytest.approx(other.slopes)
    assert one.covariance == pytest.approx(other.covariance)
    assert one.of(UP, NAMES).mean == pytest.approx(other.of(UP, NAMES).mean)
    assert one.of(UP, NAMES).own == pytest.approx(other.of(UP, NAMES).own)


def test_a_model_is_the_regression_that_its_equation_says() -> None:
    """Against the plain normal equations of slopes and effects together."""
    records = past(m=1.0)
    found = model_of(records, {}, ["m"]).without([])
    rest = found.rest
    rows, z = [], []
    for one in records:
        names, outcome = one.standardised_outcomes
        x = standard({name: one.scores["m"][name] for name in names})
        rows += [[x[i], *np.eye(4)[i]] for i in range(4)]
        z += outcome.tolist()
    design = np.array(rows)
    system = np.diag([1 / 0.03, *[1 / found.effect] * 4]) + design.T @ design / rest
    mean = np.linalg.solve(system, design.T @ np.array(z) / rest)
    new = np.array([[x, *row] for x, row in zip(standard(UP["m"]), np.eye(4), strict=True)])
    prediction = found.of(UP, NAMES)
    assert prediction.mean == pytest.approx(new @ mean)
    covariance = prediction.factors @ prediction.factors.T + np.diag(prediction.own - rest)
    assert covariance == pytest.approx(new @ np.linalg.inv(system) @ new.T)


def standard(values: Mapping[str, float]) -> list[float]:
    column = np.array(list(values.values()))
    return ((column - column.mean()) / column.std()).tolist()  # type: ignore[no-any-return]


def test_a_candidate_without_history_keeps_its_width_and_is_not_pushed_down() -> None:
    chance = np.random.default_rng(1)
    records = [record(str(i), chance.random(3).tolist()) for i in range(8)]
    scores = {"m": {"a": 0.0, "b": 0.1, "c": 0.2, "new": 1.0}}
    found = combined(records, scores, ["a", "b", "c", "new"], trust={"m": 0.4})
    assert order(found)[:3] == "new"
    assert found.deviations[3] > found.deviations[:3].max() + 0.05


def test_outcomes_here_come_first_and_teach_the_unit() -> None:
    nothing = {"m": dict.fromkeys(NAMES, 0.0)}
    far, near = ({"a": 0.9, "b": 0.9 - apart, "c": 0.9 - 2 * apart} for apart in (0.1, 0.001))
    wide, narrow = (combined(past(), nothing, known=known) for known in (far, near))
    assert order(wide).replace("d", "") == "abc"  # against what the past says of them
    assert wide.decision is not None
    assert narrow.decision is not None
    for found, apart in ((wide.decision, 0.1), (narrow.decision, 0.001)):
        assert found.regret[2] - found.regret[0] == pytest.approx(2 * apart)
    assert narrow.decision.regret[0] < wide.decision.regret[0]  # whatever the fourth is worth
    moved = combined(past(), nothing, known={name: value - 0.3 for name, value in far.items()})
    assert moved.values == pytest.approx(wide.values, abs=0.1)


def test_noisy_outcomes_move_less() -> None:
    prediction = Prediction(np.zeros(3), np.zeros((3, 0)), np.ones(3))
    known = {0: 0.9, 1: 0.8}
    sure, noisy, useless = (
        conditional(prediction, np.array([0.05]), known=known, noise=noise).draws for noise in (0.0, 0.05, 50.0)
    )
    assert sure[:, 0] - sure[:, 1] == pytest.approx(0.1)
    assert 0 < (noisy[:, 0] - noisy[:, 1]).mean() < 0.1
    assert (useless[:, 0] - useless[:, 1]).mean() == pytest.approx(0, abs=1e-3)


def test_the_order_of_candidates_decides_nothing() -> None:
    one, other = (combined(past(m=1.0), UP, names) for names in ("abcd", "dbca"))
    assert order(one) == order(other)
    assert sorted(one.values) == pytest.approx(sorted(other.values))


def test_no_candidate_is_no_decision_and_one_is_the_answer() -> None:
    assert combined([], {}, []).decision is None
    alone = combined([], {"m": {"a": 1.0}}, ["a"]).decision
    assert alone is not None
    assert (alone.kind, alone.first, alone.within.tolist()) == (Kind.USE, 0, [1.0])


DRAWS = np.random.default_rng(0).standard_normal((4000, 3)) * 0.01


@pytest.mark.parametrize(
    ("means", "kind", "shortlist"),
    [((0.2, 0.1, 0.0), "use", (0,)), ((0.0, 0.0, 0.0), "shortlist", None), ((0.1, 0.1, 0.0), "shortlist", (0, 1))],
)
def test_one_is_used_where_it_alone_is_enough(
    means: tuple[float, ...], kind: str, shortlist: tuple[int, ...] | None
) -> None:
    found = decide(DRAWS + np.array(means), tolerance=0.005, risk=0.2)
    assert found.kind == kind
    assert shortlist is None or set(found.shortlist) == set(shortlist)
    assert found.cover >= 0.8


def test_any_will_do_where_all_are_alike() -> None:
    found = decide(DRAWS / 10, tolerance=0.01, risk=0.2)
    assert (found.kind, set(found.equal)) == (Kind.ANY, {0, 1, 2})
    assert found.regret_ends[1].max() < 0.01


def test_copies_never_make_an_answer_surer_than_their_outcomes_are() -> None:
    prediction = Prediction(np.zeros(17), np.zeros((17, 0)), np.ones(17))
    found = decide(conditional(prediction, np.array([0.05]), known={}).draws, tolerance=0.01, risk=0.2)
    assert found.kind == Kind.SHORTLIST


def test_a_spread_is_the_mean_of_the_past_and_wide_where_targets_differ() -> None:
    alike = spread([record(str(i), [0.5, 0.6]) for i in range(9)], level=None, bounded=True)
    differ = spread([record(str(i), [0.5, 0.5 + 0.02 * 2.0**i]) for i in range(4)], level=None, bounded=True)
    none = spread([], level=None, bounded=True)
    assert alike is not None
    assert differ is not None
    assert none is not None
    assert np.mean(alike.values) == pytest.approx((9 * 0.05 + 0.02) / 10, rel=0.05)
    assert alike.log_deviation < differ.log_deviation
    assert none.log_deviation == pytest.approx(0.7)
    assert spread([], level=None, bounded=False) is None


def test_the_spread_follows_a_known_level_where_that_varies_less() -> None:
    records = [
        record(str(i), [m - 0.1 * m * (1 - m), m + 0.1 * m * (1 - m)]) for i, m in enumerate((0.5, 0.9, 0.98))
    ]
    near_one = spread(records, level=0.99, bounded=True)
    unknown = spread(records, level=None, bounded=True)
    assert near_one is not None
    assert unknown is not None
    assert near_one.log_mean < unknown.log_mean - 1


def test_an_unbounded_metric_without_history_is_counted_in_standard_deviations() -> None:
    model = model_of([], {"m": 0.4}, ["m"])
    found = combine(model, UP, list(NAMES), Terms("rmse", bounded=False))
    assert (found.in_units, found.tolerance) == (False, 0.25)
    given = combine(model, UP, list(NAMES), Terms("rmse", bounded=False, tolerance=2.0))
    assert not given.in_units


def test_past_targets_are_answered_as_if_they_were_new() -> None:
    found = answers(leave_one_out(past(m=1.0), {"m": 0.4}, {}))
    assert found.targets == 4
    assert sum(found.kinds.values()) == 4
    assert (found.regret, found.within) == (0.0, 1.0)
    assert 0 < found.within_expected <= 1
    assert found.regret_expected > 0


def test_siblings_of_a_cohort_are_left_out_together() -> None:
    records = [replace(one, cohort="clinic") for one in past(m=1.0)[:3]]
    for one in leave_one_out(records, {}, {}):
        assert one.combination.targets == 0
        assert one.combination.slopes["m"] == pytest.approx(0)


def test_nothing_warns_at_the_edges() -> None:
    constant = record("x", [0.5, 0.5, 0.5, 0.5], {"m": [1.0, 1.0, 1.0, 1.0]})
    perfect = record("y", [1.0, 1.0, 0.9, 0.8])
    with np.errstate(all="raise"):
        for records in ([], [constant], [perfect], [constant, perfect]):
            for known in ({}, {"a": 1.0}, {"a": 1.0, "b": 1.0}, dict.fromkeys(NAMES, 0.5)):
                found = combined(records, known=known)
                assert np.isfinite(found.values).all()
                assert found.decision is not None
                assert np.isfinite(found.decision.regret).all()
