"""The fused score: history prior and measures, combined by what the ledger has shown.

1. Every measure is standardised over the candidates; its weight is its mean correlation with outcomes on past
   targets, never negative, and shrunk as if there were PUBLISHED_TARGETS more of those with the correlation that
   a published study found (none for a measure without any: it has to earn its weight). The weighted mean is the
   consensus.
2. Consensus and prior are combined as the best linear predictor of the standardised outcome: their correlations
   with outcomes on past targets (each predicted from the others) are shrunk in the same way, EARLIER_TARGETS, to
   CONSENSUS_TRUST and to PRIOR_TRUST, the latter less where the prior itself comes from few targets.
3. What the predictor leaves unexplained is its uncertainty: seeded draws of outcomes give each candidate's
   probability of being best, and the regret to expect.
4. Measures and past targets are drawn again with replacement: a candidate that comes first less than STEADY of
   the time is not separated from the others that do, and the answer is to abstain.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from service.ledger.statistics.prior import centred, history_prior
from service.ledger.statistics.target_record import (
    Numbers,
    TargetRecord,
    mean_of,
    of_task,
    others,
    standardised,
    standardised_rows,
)

PUBLISHED_TARGETS = 11.0  # of the study that the measures' trust comes from
EARLIER_TARGETS = 5.0  # that the next two count for
CONSENSUS_TRUST = 0.4  # correlation with outcomes before anything is known
PRIOR_TRUST = 0.5
MOST_EXPLAINED = 0.95
MOST_ALIKE = 0.9  # correlation of consensus and prior, from which on their parts can't be separated
DRAWS = 4000
RESAMPLES = 200
STEADY = 0.5  # first more often than all others together
TIED = 0.1  # first at least so often: one of those that can't be separated

FUSED = "fused"
HISTORY_PRIOR = "history_prior"

Scores = Mapping[str, Mapping[str, float]]  # measure -> candidate -> score
Trust = Mapping[str, float]  # measure -> correlation with outcomes that published studies found


@dataclass(frozen=True)
class Fused:
    """One candidate. `value` is a standardised outcome; `regret` in the outcome's unit, None without history."""

    value: float
    best: float  # the probability of being the best
    first: float  # share of resamplings of the evidence in which it comes first
    regret: float | None  # to expect when this one is chosen
    gain: float  # what a finetune run of it is expected to improve the choice by, in standard deviations


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

    def only(self, names: Sequence[str]) -> Combination:
        """This combination with only these candidates."""
        return replace(self, candidates={name: self.candidates[name] for name in names})

    @property
    def leaders(self) -> list[str]:
        """The first, then those that can't be separated from it: none when it is steady."""
        ordered = sorted(self.candidates, key=lambda name: (-self.candidates[name].value, name))
        if not ordered or self.candidates[ordered[0]].first >= STEADY:
            return ordered[:1]
        return ordered[:1] + [name for name in ordered[1:] if self.candidates[name].first >= TIED]


def fuse(history: Sequence[TargetRecord], scores: Scores, candidates: Sequence[str], trust: Trust) -> Combination:
    """Combine the `scores` of `candidates` on a target by `history`: records of other targets and cohorts that
    compare at least two candidates.

    A candidate without a score, or without history, counts as average there.
    """
    weights = measure_weights(history, scores, trust)
    rows = standardised_rows(scores, candidates)
    parts = _parts(history, rows, candidates, weights)
    coefficients, explained = _coefficients(history, parts, trust)
    values = coefficients @ parts
    spread = _spread(history)
    best, regret, gain = _draws(values, math.sqrt(1 - explained))
    first = _resampled(history, rows, candidates, weights, coefficients)
    fused = {
        name: Fused(
            value=float(values[i]),
            best=float(best[i]),
            first=float(first[i]),
            regret=None if spread is None else float(regret[i] * spread),
            gain=float(gain[i]),
        )
        for i, name in enumerate(candidates)
    }
    return Combination(
        candidates=fused,
        weights=weights,
        consensus=float(coefficients[0]),
        prior=float(coefficients[1]),
        explained=explained,
        targets=len(history),
        spread=spread,
    )


def _parts(
    history: Sequence[TargetRecord], rows: Numbers, candidates: Sequence[str], weights: Mapping[str, float]
) -> Numbers:
    """Consensus and prior: (2, n). `rows` are the standardised scores of the weighted measures."""
    consensus = standardised(np.array(list(weights.values())) @ rows)
    prior = history_prior(history)
    priors = np.array([prior[name].value if name in prior else np.nan for name in candidates])
    return np.array([consensus, np.nan_to_num(standardised(priors))])


def measure_weights(history: Sequence[TargetRecord], measures: Iterable[str], trust: Trust) -> dict[str, float]:
    """Measure -> its shrunken mean correlation with outcomes, at least 0."""
    weights = {}
    for measure in measures:
        correlations = [record.correlations[measure] for record in history if measure in record.correlations]
        weights[measure] = max(_shrunk(correlations, trust.get(measure, 0.0), PUBLISHED_TARGETS), 0.0)
    return weights


def _shrunk(values: Sequence[float], towards: float, weight: float = EARLIER_TARGETS) -> float:
    return (sum(values) + weight * towards) / (len(values) + weight)


def _coefficients(history: Sequence[TargetRecord], parts: Numbers, trust: Trust) -> tuple[Numbers, float]:
    """Coefficients of consensus and prior in the best linear predictor, and the share of variance it explains."""
    past = [target for record in history if (target := _past_parts(history, record, trust)) is not None]
    consensus = [_product(each[0], outcome) for each, outcome in past if each[0].any()]
    prior = [_product(each[1], outcome) for each, outcome in past if each[1].any()]
    with_outcome = np.array([_shrunk(consensus, CONSENSUS_TRUST), _shrunk(prior, _prior_trust(history))])
    between = np.mean([_product(*each) for each in (parts, *(each for each, _ in past))])
    between = np.clip(between, -MOST_ALIKE, MOST_ALIKE)
    best = np.linalg.solve(np.array([[1, between], [between, 1]]), with_outcome).clip(min=0)
    return best, float(np.clip(best @ (with_outcome * parts.any(1)), 0, MOST_EXPLAINED))


def _prior_trust(history: Sequence[TargetRecord]) -> float:
    """Correlation that a history prior from so many targets is shrunk to."""
    return PRIOR_TRUST * len(history) / (len(history) + EARLIER_TARGETS)


def _past_parts(
    history: Sequence[TargetRecord], record: TargetRecord, trust: Trust
) -> tuple[Numbers, Numbers] | None:
    """Consensus and prior of one past target from all others (2, n), and its standardised outcomes (n,)."""
    names, outcomes = record.standardised_outcomes
    rest = others(history, target=record.target, cohort=record.cohort)
    weights = measure_weights(rest, record.scores, trust)
    return (_parts(rest, record.standardised_scores, names, weights), outcomes) if outcomes.any() else None


def _product(one: Numbers, other: Numbers) -> float:
    return float((one * other).sum() / max(len(one), 1))


def _spread(history: Sequence[TargetRecord]) -> float | None:
    """The median, over targets, of the outcomes' standard deviation over candidates."""
    spreads = [float(np.std(list(record.outcomes.values()))) for record in history]
    return float(np.median(spreads)) if spreads else None


def _draws(values: Numbers, deviation: float) -> tuple[Numbers, Numbers, Numbers]:
    """Each candidate's probability of being best, its expected regret, and what knowing its outcome is worth (both
    in standard deviations): three of (n,)."""
    random = np.random.default_rng(0)
    drawn = values + deviation * random.standard_normal((DRAWS, len(values)))
    best = drawn.max(1, keepdims=True, initial=-np.inf)
    rivals = np.array([np.delete(values, i).max(initial=-np.inf) for i in range(len(values))])
    informed = np.maximum(drawn, rivals).mean(0)
    return (drawn == best).mean(0), (best - drawn).mean(0), informed - values.max(initial=-np.inf)


def _resampled(
    history: Sequence[TargetRecord],
    rows: Numbers,
    candidates: Sequence[str],
    weights: Mapping[str, float],
    coefficients: Numbers,
) -> Numbers:
    """How often each candidate comes first when weighted measures and past targets are drawn again: (n,)."""
    random = np.random.default_rng(0)
    weight = np.array(list(weights.values()))
    drawn = weight * _counts(random, weight > 0)  # (RESAMPLES, measures)
    consensus = drawn @ rows  # (RESAMPLES, n)
    past = centred(history, candidates)  # (targets, n)
    counts = _counts(random, np.ones(len(past), bool))
    with np.errstate(invalid="ignore"):
        prior = (counts @ np.nan_to_num(past)) / (counts @ np.isfinite(past))
    values = coefficients @ np.array([_each_standardised(consensus), _each_standardised(prior)]).swapaxes(0, 1)
    leading = values == values.max(1, keepdims=True, initial=-np.inf)
    return np.asarray((leading / np.maximum(leading.sum(1, keepdims=True), 1)).mean(0))


def _counts(random: np.random.Generator, drawable: NDArray[np.bool_]) -> Numbers:
    """How often each is drawn, when as many as are drawable are drawn with replacement: (RESAMPLES, len)."""
    total = int(drawable.sum())
    if not len(drawable):
        return np.zeros((RESAMPLES, 0))
    return random.multinomial(total, drawable / max(total, 1), size=RESAMPLES).astype(float)


def _each_standardised(rows: Numbers) -> Numbers:
    return np.nan_to_num(np.apply_along_axis(standardised, 1, rows)) if rows.size else rows


@dataclass(frozen=True)
class LeftOut:
    """One past target as if it were new: its record with prior and fused score as measures."""

    record: TargetRecord
    combination: Combination


def leave_one_out(records: Sequence[TargetRecord], trust: Trust) -> list[LeftOut]:
    """Every record with what is derived from the records of other targets and cohorts of its task."""
    left_out = []
    for record in records:
        history = of_task(others(records, target=record.target, cohort=record.cohort), record.task)
        prior = {name: entry.value for name, entry in history_prior(history).items() if name in record.outcomes}
        combination = fuse(history, record.scores, sorted(record.outcomes), trust)
        values = {name: entry.value for name, entry in combination.candidates.items()}
        derived = {HISTORY_PRIOR: prior} if prior else {}
        scores = {**record.scores, **derived, FUSED: values}
        left_out.append(LeftOut(replace(record, scores=scores), combination))
    return left_out


@dataclass(frozen=True)
class Answers:
    """How the fused score would have answered past targets; regrets in the outcome's unit, NaN for none."""

    targets: int
    answered: int  # the rest were abstained from
    regret: float  # mean, when its first choice is followed on all
    regret_answered: float
    regret_abstained: float
    regret_expected: float  # what it expected, over all


def answers(past: Sequence[LeftOut]) -> Answers:
    """Over targets with scores or a prior to choose by, and at least two outcomes."""
    asked = [target for target in past if len(target.record.outcomes) > 1 and len(target.record.scores) > 1]
    regrets = [_regret(target) for target in asked]
    sure = [len(target.combination.leaders) == 1 for target in asked]
    expected = [target.combination.candidates[target.combination.leaders[0]].regret for target in asked]
    return Answers(
        targets=len(asked),
        answered=sum(sure),
        regret=mean_of(regrets),
        regret_answered=mean_of([regret for regret, answered in zip(regrets, sure, strict=True) if answered]),
        regret_abstained=mean_of([regret for regret, answered in zip(regrets, sure, strict=True) if not answered]),
        regret_expected=mean_of([value for value in expected if value is not None]),
    )


def _regret(one: LeftOut) -> float:
    outcomes = one.record.outcomes
    return max(outcomes.values()) - outcomes[one.combination.leaders[0]]
