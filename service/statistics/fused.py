"""The fused score: history prior and measures, combined by what the ledger has shown.

1. Every measure is standardised over the candidates; its weight is its mean correlation with outcomes on past
   targets, shrunk to TRUST as if there were TRUST_TARGETS more of those, and never negative. The weighted mean is
   the consensus.
2. Consensus and prior are combined as the best linear predictor of the standardised outcome: their correlations
   with outcomes on past targets (each predicted from the others) are shrunk in the same way.
3. What the predictor leaves unexplained is its uncertainty: seeded draws of outcomes give each candidate's
   probability of being best and the regret to expect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from service.statistics.prior import Prior, history_prior
from service.statistics.records import Numbers, TargetRecord, others, standardised

TRUST = 0.3  # correlation of a measure, or of the consensus, with outcomes before anything is known of it
TRUST_TARGETS = 3.0  # as many past targets outweigh that by half
PRIOR_TRUST = 0.4  # the same of the prior
MOST_EXPLAINED = 0.95
MOST_ALIKE = 0.9  # correlation of consensus and prior, from which on their parts can't be told apart
DRAWS = 4000

Scores = Mapping[str, Mapping[str, float]]  # measure -> candidate -> score


@dataclass(frozen=True)
class Fused:
    """One candidate. `value` is a standardised outcome; `regret` in the outcome's unit, None without history."""

    value: float
    best: float  # the probability of being the best
    regret: float | None  # to expect when this one is chosen


@dataclass(frozen=True)
class Combination:
    """The fused scores of one target's candidates and what they were combined from."""

    candidates: dict[str, Fused]
    weights: dict[str, float]  # of the measures in the consensus
    consensus: float  # coefficient
    prior: float  # coefficient
    explained: float  # share of the outcome's variance, as expected
    targets: int  # in history
    spread: float | None  # usual standard deviation of outcomes over candidates


def fuse(history: Sequence[TargetRecord], scores: Scores, candidates: Sequence[str]) -> Combination:
    """Combine the `scores` of `candidates` on a target by `history`: records of other targets and cohorts.

    A candidate without a score, or without history, is taken as average there.
    """
    weights = measure_weights(history, scores)
    parts = np.array([_consensus(scores, weights, candidates), _known(history_prior(history), candidates)])
    coefficients, explained = _coefficients(history, parts)
    values = coefficients @ parts
    spread = _spread(history)
    best, regret = _draws(values, np.sqrt(1 - explained))
    found = {
        name: Fused(float(value), float(chance), None if spread is None else float(loss * spread))
        for name, value, chance, loss in zip(candidates, values, best, regret, strict=True)
    }
    return Combination(
        candidates=found,
        weights=weights,
        consensus=float(coefficients[0]),
        prior=float(coefficients[1]),
        explained=explained,
        targets=len(history),
        spread=spread,
    )


def measure_weights(history: Sequence[TargetRecord], scores: Scores) -> dict[str, float]:
    """Measure -> its shrunken mean correlation with outcomes, at least 0."""
    return {measure: max(_shrunk(_correlations(history, measure), TRUST), 0.0) for measure in sorted(scores)}


def _correlations(history: Sequence[TargetRecord], measure: str) -> list[float]:
    found = []
    for record in history:
        names, x, y = record.pair(measure)
        if len(names) > 1 and np.ptp(x) > 0 and np.ptp(y) > 0:
            found.append(float(np.mean(standardised(x) * standardised(y))))
    return found


def _shrunk(values: Sequence[float], towards: float) -> float:
    return (sum(values) + TRUST_TARGETS * towards) / (len(values) + TRUST_TARGETS)


def _consensus(scores: Scores, weights: Mapping[str, float], candidates: Sequence[str]) -> Numbers:
    """Standardised weighted mean of the standardised scores; a missing score counts as average: (n,)."""
    total = np.zeros(len(candidates))
    for measure, own in scores.items():
        values = standardised(np.array([own.get(name, np.nan) for name in candidates], float))
        total += weights.get(measure, 0.0) * np.nan_to_num(values)
    return standardised(total)


def _known(prior: Mapping[str, Prior], candidates: Sequence[str]) -> Numbers:
    """The standardised prior; a candidate without history is taken as average: (n,)."""
    return np.nan_to_num(standardised(np.array([prior[n].value if n in prior else np.nan for n in candidates])))


def _coefficients(history: Sequence[TargetRecord], parts: Numbers) -> tuple[Numbers, float]:
    """Of consensus and prior in the best linear predictor, and the share of variance it explains."""
    past = [found for record in history if (found := _past_parts(history, record)) is not None]
    with_outcome = np.array(
        [
            _shrunk([_product(own[0], outcome) for own, outcome in past if own[0].any()], TRUST),
            _shrunk([_product(own[1], outcome) for own, outcome in past if own[1].any()], PRIOR_TRUST),
        ]
    )
    between = np.mean([_product(*own) for own in (parts, *(own for own, _ in past))])
    between = np.clip(between, -MOST_ALIKE, MOST_ALIKE)
    best = np.linalg.solve(np.array([[1, between], [between, 1]]), with_outcome).clip(min=0)
    return best, float(np.clip(best @ (with_outcome * parts.any(1)), 0, MOST_EXPLAINED))


def _past_parts(history: Sequence[TargetRecord], record: TargetRecord) -> tuple[Numbers, Numbers] | None:
    """Consensus and prior of one past target from all others (2, n), and its standardised outcomes (n,)."""
    names = sorted(record.outcomes)
    outcomes = standardised(np.array([record.outcomes[name] for name in names]))
    rest = others(history, target=record.target, cohort=record.cohort)
    consensus = _consensus(record.scores, measure_weights(rest, record.scores), names)
    prior = _known(history_prior(rest), names)
    return (np.array([consensus, prior]), outcomes) if outcomes.any() else None


def _product(one: Numbers, other: Numbers) -> float:
    return float(np.mean(one * other))


def _spread(history: Sequence[TargetRecord]) -> float | None:
    """The median, over targets, of the outcomes' standard deviation over candidates."""
    spreads = [float(np.std(list(record.outcomes.values()))) for record in history if len(record.outcomes) > 1]
    return float(np.median(spreads)) if spreads else None


def _draws(values: Numbers, deviation: float) -> tuple[Numbers, Numbers]:
    """Each candidate's probability of being best, and expected regret in standard deviations: two of (n,)."""
    random = np.random.default_rng(0)
    drawn = values + deviation * random.standard_normal((DRAWS, len(values)))
    best = drawn.max(1, keepdims=True)
    return (drawn == best).mean(0), (best - drawn).mean(0)
