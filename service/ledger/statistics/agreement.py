"""Agreement: how well a measure's scores agree with outcomes, over targets, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from service.ledger.statistics.rank import in_parts, kendall_tau, pearson, permutation_p, top_choice, weighted_tau
from service.ledger.statistics.target_record import Numbers, TargetRecord, mean_of

RESAMPLES = 1000
LEVEL = 0.95
Interval = tuple[float, float]


@dataclass(frozen=True)
class TargetAgreement:
    """One measure on one target. `hit` and `regret` are expected values over tied first choices."""

    target: str
    candidates: int
    pearson: float
    kendall_tau: float
    weighted_tau: float
    hit: float
    regret: float  # in the outcome's unit


@dataclass(frozen=True)
class Agreement:
    """One measure over targets: plain means over those where its scores are not constant.

    `intervals` of the mean weighted tau by what is drawn again: "targets", "candidates" (in each target),
    "cases" (test images, where all targets hold them). Without `thorough`, over targets only, or, where there is
    one target, over its candidates; and no p.
    """

    measure: str
    targets: int
    candidates: int  # different ones
    no_ranking: int  # targets left out, since every candidate has the same score there
    pearson: float
    kendall_tau: float
    weighted_tau: float
    hits: float
    regret: float
    intervals: dict[str, Interval] = field(default_factory=dict)
    p: float = float("nan")  # of the mean Kendall's tau
    by_target: tuple[TargetAgreement, ...] = ()


def agreement(records: Sequence[TargetRecord], measure: str, *, thorough: bool = True) -> Agreement | None:
    """Agreement over the records; None where no target has two candidates with score and outcome."""
    pairs = [(record, *record.pair(measure)) for record in records]
    comparable = [(record, names, x, y) for record, names, x, y in pairs if len(names) > 1 and np.ptp(y) > 0]
    if not comparable:
        return None
    ranking = [(record, names, x, y) for record, names, x, y in comparable if np.ptp(x) > 0]
    by_target = tuple(_of_target(record, x, y) for record, _, x, y in ranking)
    numbers = tuple((tuple(x), tuple(y)) for _, _, x, y in ranking)
    return Agreement(
        measure=measure,
        targets=len(ranking),
        candidates=len({name for _, names, _, _ in ranking for name in names}),
        no_ranking=len(comparable) - len(ranking),
        pearson=mean_of([target.pearson for target in by_target]),
        kendall_tau=mean_of([target.kendall_tau for target in by_target]),
        weighted_tau=mean_of([target.weighted_tau for target in by_target]),
        hits=float(sum(target.hit for target in by_target)),
        regret=mean_of([target.regret for target in by_target]),
        intervals=_intervals(
            numbers, tuple(_cases(record, names) for record, names, _, _ in ranking if thorough), thorough
        ),
        p=_p(numbers) if thorough else float("nan"),
        by_target=by_target,
    )


def agreements(
    records: Sequence[TargetRecord], measures: Sequence[str], *, thorough: bool = False, by_target: bool = False
) -> dict[str, Agreement]:
    """Measure -> its agreement, for those that have one; with the figures of each target on demand."""
    by_measure = {measure: agreement(records, measure, thorough=thorough) for measure in measures}
    kept = {measure: measured for measure, measured in by_measure.items() if measured is not None}
    return kept if by_target else {measure: replace(measured, by_target=()) for measure, measured in kept.items()}


def _of_target(record: TargetRecord, scores: Numbers, outcomes: Numbers) -> TargetAgreement:
    hit, _ = top_choice(scores, outcomes)
    first = scores == scores.max()
    best = max(record.outcomes.values())  # also of candidates that the measure gave no score
    return TargetAgreement(
        target=record.target,
        candidates=len(scores),
        pearson=float(pearson(scores, outcomes)),
        kendall_tau=float(kendall_tau(scores, outcomes)),
        weighted_tau=float(weighted_tau(scores, outcomes)),
        hit=float(hit) if outcomes.max() == best else 0.0,
        regret=float(best - outcomes[first].mean()),
    )


def _cases(record: TargetRecord, names: Sequence[str]) -> tuple[tuple[float, ...], ...] | None:
    """Outcomes by candidate and test image, where every candidate has the same number of images."""
    rows = tuple(record.cases.get(name, ()) for name in names)
    return rows if len({len(row) for row in rows}) == 1 and rows[0] else None


Pairs = tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]


@lru_cache(maxsize=512)
def _p(pairs: Pairs) -> float:
    return permutation_p(pairs, kendall_tau)


@lru_cache(maxsize=512)
def _intervals(
    pairs: Pairs, cases: tuple[tuple[tuple[float, ...], ...] | None, ...], thorough: bool
) -> dict[str, Interval]:
    """Percentile intervals of the mean weighted tau; none where nothing can be drawn again."""
    random = np.random.default_rng(0)
    taus = np.array([float(weighted_tau(x, y)) for x, y in pairs])
    intervals: dict[str, Interval] = {}
    if len(taus) > 1:
        intervals["targets"] = _percentiles(random.choice(taus, (RESAMPLES, len(taus))).mean(1))
    if pairs and (thorough or len(pairs) == 1):
        draws = [_again(np.array(x), np.array(y), random) for x, y in pairs]
        intervals["candidates"] = _percentiles(_mean_known(draws))
    known = [rows for rows in cases if rows is not None]
    if known and len(known) == len(pairs):
        of_cases = [_other_cases(np.array(x), np.array(r), random) for (x, _), r in zip(pairs, known, strict=True)]
        intervals["cases"] = _percentiles(_mean_known(of_cases))
    return {over: interval for over, interval in intervals.items() if not np.isnan(interval).any()}


def _again(x: Numbers, y: Numbers, random: np.random.Generator) -> Numbers:
    """Weighted taus of candidates drawn with replacement: (RESAMPLES,)."""
    drawn = random.integers(len(x), size=(RESAMPLES, len(x)))
    return in_parts(lambda order: weighted_tau(x[order], y[order]), drawn)


def _other_cases(x: Numbers, rows: Numbers, random: np.random.Generator) -> Numbers:
    """Weighted taus against the outcomes on test images drawn with replacement; rows: (n, images)."""
    drawn = random.integers(rows.shape[1], size=(RESAMPLES, rows.shape[1]))
    outcomes = np.nanmean(rows[:, drawn], axis=2).T  # (RESAMPLES, n)
    return weighted_tau(x, outcomes)


def _mean_known(draws: Sequence[Numbers]) -> Numbers:
    """Mean over targets of each draw, over those where what was drawn has an order."""
    values = np.array(draws)
    finite = np.isfinite(values)
    return np.asarray(np.where(finite, values, 0).sum(0)[finite.any(0)] / finite.sum(0)[finite.any(0)])


def _percentiles(values: NDArray[np.float64]) -> Interval:
    if not len(values):
        return float("nan"), float("nan")
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)
