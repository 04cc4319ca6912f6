"""Rank statistics are scipy's; agreement, prior and fused score do what they say on small ledgers."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from service.ledger.statistics.agreement import agreement
from service.ledger.statistics.prior import history_prior
from service.ledger.statistics.rank import kendall_tau, pearson, permutation_p, top_choice, weighted_tau
from service.ledger.statistics.target_record import TargetRecord, others, similar

PAIRS = st.integers(2, 14).flatmap(
    lambda n: st.tuples(*(st.lists(st.integers(0, n), min_size=n, max_size=n) for _ in range(2)))
)


@given(PAIRS)
def test_taus_are_scipys_with_and_without_ties(pair: tuple[list[int], list[int]]) -> None:
    scores, outcomes = (np.array(values, float) for values in pair)
    both = (
        (kendall_tau, stats.kendalltau(scores, outcomes).statistic),
        (weighted_tau, stats.weightedtau(scores, outcomes).statistic),
    )
    for own, expected in both:
        np.testing.assert_allclose(own(scores, outcomes), expected, atol=1e-12)


def test_many_orders_at_once_are_each_alone() -> None:
    random = np.random.default_rng(0)
    scores, outcomes = random.integers(0, 5, (40, 9)).astype(float), random.standard_normal((40, 9))
    for statistic in (pearson, kendall_tau, weighted_tau):
        alone = [float(statistic(x, y)) for x, y in zip(scores, outcomes, strict=True)]
        np.testing.assert_allclose(statistic(scores, outcomes), alone)


def test_pearson_is_numpys() -> None:
    x, y = np.random.default_rng(1).standard_normal((2, 20))
    assert float(pearson(x, y)) == pytest.approx(np.corrcoef(x, y)[0, 1])


@pytest.mark.parametrize("values", [([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [2, 2, 2]), ([1], [1])])
def test_what_has_no_order_has_no_number(values: tuple[list[float], list[float]]) -> None:
    for statistic in (pearson, kendall_tau, weighted_tau):
        assert np.isnan(statistic(*values))
    assert np.isnan(permutation_p([values], kendall_tau))


@pytest.mark.parametrize(
    ("tau", "p"), [(11 / 21, 0.1361), (13 / 21, 0.0690), (15 / 21, 0.0302), (17 / 21, 0.0107)]
)
def test_exact_p_of_seven_candidates(tau: float, p: float) -> None:
    """Known two-sided values of Kendall's tau at n = 7."""
    base = np.arange(7.0)
    order = next(o for o in permutations(base) if abs(float(kendall_tau(base, o)) - tau) < 1e-9)
    assert permutation_p([(base, order)], kendall_tau) == pytest.approx(p, abs=5e-5)


def test_drawn_p_is_near_the_exact_one_and_repeatable() -> None:
    x = np.arange(10.0)
    y = np.array([3, 0, 1, 5, 2, 4, 9, 6, 8, 7.0])
    found = permutation_p([(x, y)], kendall_tau)
    assert found == pytest.approx(stats.kendalltau(x, y, method="exact").pvalue, abs=0.003)
    assert found == permutation_p([(x, y)], kendall_tau)


def test_several_targets_tell_more_than_one() -> None:
    x, y = np.arange(6.0), np.array([0, 2, 1, 4, 3, 5.0])
    assert permutation_p([(x, y)] * 4, kendall_tau) < permutation_p([(x, y)], kendall_tau) / 10


def test_top_choice_over_ties_is_the_expected_value() -> None:
    hit, regret = top_choice([3, 3, 1, 0], [0.5, 0.9, 0.8, 0.1])
    assert float(hit) == 0.5
    assert float(regret) == pytest.approx(0.2)
    hit, regret = top_choice([0, 0, 0], [0.3, 0.6, 0.6])
    assert float(hit) == pytest.approx(2 / 3)
    assert float(regret) == pytest.approx(0.1)


def record(target: str, outcomes: list[float], scores: list[float] | None = None, **more: object) -> TargetRecord:
    names = "abcdefgh"
    by_measure = {"m": dict(zip(names, scores, strict=False))} if scores else {}
    known = {"task": "segmentation", "modality": "MR", **more}
    return TargetRecord(target, dict(zip(names, outcomes, strict=False)), by_measure, **known)  # type: ignore[arg-type]


def test_agreement_over_targets() -> None:
    records = [
        record("one", [0.1, 0.2, 0.3, 0.4], [1, 2, 3, 4]),
        record("two", [0.1, 0.2, 0.3, 0.4], [4, 3, 2, 1]),
        record("constant", [0.1, 0.2, 0.3, 0.4], [5, 5, 5, 5]),
        record("unscored", [0.1, 0.2]),
    ]
    found = agreement(records, "m")
    assert found is not None
    assert (found.targets, found.no_ranking, found.candidates) == (2, 1, 4)
    assert found.weighted_tau == pytest.approx(0)
    assert found.hits == 1
    assert found.regret == pytest.approx(0.15)
    assert found.intervals["targets"] == (-1, 1)
    assert [one.target for one in found.by_target] == ["one", "two"]
    assert agreement(records, "unheard-of") is None


def test_where_all_scores_are_constant_there_are_no_figures() -> None:
    found = agreement([record("constant", [0.1, 0.2], [5, 5])], "m")
    assert found is not None
    assert (found.targets, found.no_ranking) == (0, 1)
    assert np.isnan([found.weighted_tau, found.regret, found.p]).all()
    assert found.intervals == {}


def test_regret_is_against_the_best_candidate_also_when_that_has_no_score() -> None:
    found = agreement([record("one", [0.1, 0.2, 0.9], [1, 2])], "m")
    assert found is not None
    assert found.regret == pytest.approx(0.7)
    assert found.hits == 0


def test_intervals_over_cases_need_the_same_cases_of_all() -> None:
    random = np.random.default_rng(0)
    cases = {name: tuple(random.normal(mean, 0.1, 30)) for name, mean in zip("abc", (0.2, 0.5, 0.8), strict=True)}
    sure = record("one", [0.2, 0.5, 0.8], [1, 2, 3], cases=cases)
    found = agreement([sure], "m")
    assert found is not None
    assert found.intervals["cases"] == (1, 1)
    uneven = record("one", [0.2, 0.5, 0.8], [1, 2, 3], cases={**cases, "b": (0.5,)})
    found = agreement([uneven], "m")
    assert found is not None
    assert "cases" not in found.intervals


def test_the_prior_is_centred_so_that_easy_targets_favour_nobody() -> None:
    easy, hard = record("easy", [0.90, 0.92]), TargetRecord("hard", {"b": 0.1, "c": 0.3, "d": 0.2})
    found = history_prior([easy, hard])
    assert {name: round(one.value, 6) for name, one in found.items()} == {
        "a": -0.01,
        "b": -0.045,
        "c": 0.1,
        "d": 0,
    }
    assert found["b"].targets == 2
    assert history_prior([TargetRecord("alone", {"a": 0.5})]) == {}


def test_cohort_siblings_and_the_target_itself_are_no_history() -> None:
    records = [record(name, [1, 2], cohort=cohort) for name, cohort in (("x", "A"), ("y", "A"), ("z", None))]
    assert [one.target for one in others(records, target="x", cohort="A")] == ["z"]
    assert [one.target for one in others(records, target="z", cohort=None)] == ["x", "y"]


def test_similar_targets_are_of_one_task_and_modality_while_there_are_three() -> None:
    records = [record(name, [1, 2]) for name in "xyz"] + [record("ct", [1, 2], modality="CT")]
    asked = {"task": "segmentation", "cohort": None}
    assert len(similar(records, target="new", modality="MR", **asked).records) == 3
    fewer = similar(records, target="x", modality="MR", **asked)
    assert {one.target for one in fewer.records} == {"y", "z", "ct"}
    assert fewer.how == "3 segmentation targets, any modality"
