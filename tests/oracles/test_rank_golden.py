"""Rank statistics against recorded values of scipy."""

from __future__ import annotations

import numpy as np

from service.ledger.statistics.rank import kendall_tau, pearson, weighted_tau

FAMILY = "rank-metrics"
CASES = ("seven", "twelve", "ties_score", "ties_both", "two", "three_reversed", "perfect", "constant_score")


def test_statistics(case):
    for name in CASES:
        scores, outcomes = case.input(f"{name}_score"), case.input(f"{name}_truth")
        case.check(f"{name}_pearson", pearson(scores, outcomes))
        case.check(f"{name}_kendall_tau_b", kendall_tau(scores, outcomes))
        case.check(f"{name}_weighted_tau", weighted_tau(scores, outcomes))
        case.check(f"{name}_weighted_tau_swapped", weighted_tau(outcomes, scores))


def test_a_constant_score_is_no_order(case):
    scores = case.input("constant_score_score")
    assert np.isnan(weighted_tau(scores, case.input("constant_score_truth")))
