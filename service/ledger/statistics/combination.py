"""The fused order and the decision behind an answer: for a new target, and for each past one as if it were new."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.ledger.statistics.decision import DRAWS, DRAWS_OF_PAST, Decision, Kind, conditional, decide
from service.ledger.statistics.mixed_model import Model, Scores
from service.ledger.statistics.prior import history_prior
from service.ledger.statistics.spread import spread
from service.ledger.statistics.target_record import Numbers, TargetRecord, mean_of, of_task, others

FUSED = "fused"
HISTORY_PRIOR = "history_prior"
TOLERANCE = 0.01  # of a metric between 0 and 1: a point of 100
TOLERANCE_IN_DEVIATIONS = 0.25  # where the unit is not known
RISK = 0.2


@dataclass(frozen=True)
class Terms:
    """What is asked: how much worse than the best a choice may be, and with what probability it may be more.

    `tolerance` is in the metric's unit; None is a point of 100 where the metric lies between 0 and 1 (`bounded`).
    """

    metric: str = ""
    bounded: bool = True
    tolerance: float | None = None
    risk: float = RISK


@dataclass(frozen=True)
class Combination:
    """What is expected of the n candidates of one target, in the order of `candidates`, and what to do.

    `values` are standardised outcomes, as expected. In `decision` regrets are in the outcome's unit where
    `in_units`, else in standard deviations of the outcomes over the candidates; so is `tolerance`.
    """

    candidates: tuple[str, ...]
    values: Numbers  # (n,)
    deviations: Numbers  # (n,) of the standardised outcomes, before any outcome here is known
    decision: Decision | None  # None without candidates
    slopes: dict[str, float]  # of the measures
    targets: int  # that it was learned from
    in_units: bool
    tolerance: float
    risk: float

    def place(self, name: str) -> int | None:
        """Where a candidate stands in `candidates`; None where nothing that counts is known of it."""
        return self.candidates.index(name) if name in self.candidates else None


def combine(
    model: Model,
    scores: Scores,
    candidates: Sequence[str],
    terms: Terms,
    *,
    without: Sequence[str] = (),
    known: Mapping[str, float] | None = None,
    most_draws: int = DRAWS,
) -> Combination:
    """What past targets, all of the model but `without`, say of these candidates by their scores.

    known: outcomes on this very target, higher is better.
    """
    posterior = model.without(without) if without else model.whole
    past = [one for one in model.records if one.target not in without and one.metric == terms.metric]
    seen = {candidates.index(name): value for name, value in (known or {}).items() if name in candidates}
    level = mean_of(list(seen.values())) if seen else None
    unit = spread(past, level=level, bounded=terms.bounded)
    tolerance = terms.tolerance if terms.tolerance is not None else TOLERANCE if terms.bounded else None
    in_units = unit is not None and tolerance is not None
    spreads = unit.values if unit is not None and in_units else np.ones(1)
    limit = tolerance if tolerance is not None and in_units else TOLERANCE_IN_DEVIATIONS
    prediction = posterior.of(scores, candidates)
    found = conditional(prediction, spreads, known=seen, most_draws=most_draws)
    return Combination(
        candidates=tuple(candidates),
        values=found.mean,
        deviations=np.sqrt(prediction.variance),
        decision=decide(found.draws, tolerance=limit, risk=terms.risk) if candidates else None,
        slopes=dict(zip(posterior.measures, posterior.slopes.tolist(), strict=True)),
        targets=sum(one.target not in without for one in model.records),
        in_units=in_units,
        tolerance=limit,
        risk=terms.risk,
    )


@dataclass(frozen=True)
class LeftOut:
    """One past target as if it were new: its record with prior and fused score as measures."""

    record: TargetRecord
    combination: Combination


def leave_one_out(
    records: Sequence[TargetRecord], trust: Mapping[str, float], bounded: Mapping[str, bool]
) -> list[LeftOut]:
    """Every record with what is derived from the records of other targets and cohorts of its task.

    bounded: metric -> whether it lies between 0 and 1.
    """
    left_out = []
    tasks = {record.task for record in records}
    models = {task: model_of(of_task(records, task), trust) for task in tasks}
    for record in records:
        model = models[record.task]
        history = others(model.records, target=record.target, cohort=record.cohort)
        kept = {one.target for one in history}
        without = [one.target for one in model.records if one.target not in kept]
        terms = Terms(record.metric, bounded.get(record.metric, True))
        names = sorted(record.outcomes)
        combination = combine(model, record.scores, names, terms, without=without, most_draws=DRAWS_OF_PAST)
        prior = {name: entry.value for name, entry in history_prior(history).items() if name in record.outcomes}
        values = dict(zip(combination.candidates, combination.values.tolist(), strict=True))
        derived = {HISTORY_PRIOR: prior} if prior else {}
        scores = {**record.scores, **derived, FUSED: values}
        left_out.append(LeftOut(replace(record, scores=scores), combination))
    return left_out


def model_of(records: Sequence[TargetRecord], trust: Mapping[str, float], measures: Iterable[str] = ()) -> Model:
    """The model of past targets of one task, those that compare at least two candidates, and of these measures."""
    telling = tuple(record for record in records if len(record.outcomes) > 1)
    named = {*measures, *(measure for record in telling for measure in record.scores)}
    return Model(telling, tuple(sorted(named)), trust)


@dataclass(frozen=True)
class Answers:
    """What the answers on past targets would have been, and what came. Regrets are in the outcome's unit."""

    targets: int
    kinds: dict[str, int]  # kind of answer -> targets
    regret: float  # mean, when its first choice is followed on all
    regret_expected: float  # what it expected there
    within: float  # share of targets where the first choice is within the tolerance
    within_expected: float
    covered: float  # share of targets where one that it named is
    named: float  # mean number of candidates that it named


def answers(past: Sequence[LeftOut]) -> Answers:
    """Over targets with scores or a prior to choose by, and at least two outcomes, in the outcome's unit."""
    asked = [
        (target, target.combination.decision)
        for target in past
        if len(target.record.outcomes) > 1 and len(target.record.scores) > 1 and target.combination.in_units
    ]
    lost = [(_lost(target), target.combination, decision) for target, decision in asked if decision]
    kinds = [decision.kind for _, _, decision in lost]
    return Answers(
        targets=len(lost),
        kinds={kind.value: kinds.count(kind) for kind in Kind},
        regret=mean_of([float(one[decision.first]) for one, _, decision in lost]),
        regret_expected=mean_of([float(decision.regret[decision.first]) for _, _, decision in lost]),
        within=mean_of([float(one[decision.first] <= own.tolerance) for one, own, decision in lost]),
        within_expected=mean_of([float(decision.within[decision.first]) for _, _, decision in lost]),
        covered=mean_of(
            [float(one[list(decision.shortlist)].min() <= own.tolerance) for one, own, decision in lost]
        ),
        named=mean_of([float(len(decision.shortlist)) for _, _, decision in lost]),
    )


def _lost(one: LeftOut) -> Numbers:
    """How much better the best outcome was than each candidate's: (n,)."""
    outcomes = np.array([one.record.outcomes[name] for name in one.combination.candidates])
    return np.asarray(outcomes.max() - outcomes)
