"""A ranking's derived scores: the history prior and the fused score, from the ledger at every call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.ledger import records as ledger
from service.ledger.flags import Flags
from service.ledger.statistics.combination import (
    FUSED,
    HISTORY_PRIOR,
    Combination,
    Terms,
    combine,
    model_of,
)
from service.ledger.statistics.mixed_model import Model
from service.ledger.statistics.prior import Prior, history_prior
from service.ledger.statistics.target_record import TargetRecord, of_task, others
from service.store import capabilities, datasets
from service.store.contents import Figure, ScoreRecord
from service.store.published import MEASURES, METRICS, PublishedMetric
from service.store.session import Session
from service.store.tables import Dataset, Ranking, Score

DERIVED = (FUSED, HISTORY_PRIOR)
Scores = Mapping[str, Score]  # measure -> score


@dataclass(frozen=True)
class Fusion:
    """What follows from the ledger for one ranking's candidates, by name."""

    dataset: Dataset
    records: tuple[TargetRecord, ...]  # of all targets
    history: tuple[TargetRecord, ...]  # what the fused score is learned from
    trust: dict[str, float]
    metrics: Mapping[str, PublishedMetric]
    prior: dict[str, Prior]
    combination: Combination
    unit: str  # of differences of outcomes; empty where the metric has none
    outcomes: Mapping[str, float]  # of this very target, as far as there are any
    flags: Flags

    def scores(self, name: str) -> list[Score]:
        """The derived scores of one candidate; no prior where no candidate has a history."""
        fused = [self._fused(name)]
        return [*fused, self._prior(name)] if self.prior else fused

    def _fused(self, name: str) -> Score:
        place, decision = self.combination.place(name), self.combination.decision
        if place is None or decision is None:
            return self._missing(FUSED, "no measure that counts has a sound score, and there is no history")
        figures: dict[str, Figure] = {
            "probability_best": float(decision.best[place]),
            "within_tolerance": float(decision.within[place]),
            "expected_regret": float(decision.regret[place]),
            "standard_deviation": float(self.combination.deviations[place]),
            "past_targets": self.combination.targets,
        }
        value = float(self.combination.values[place])
        return Score(measure=FUSED, value=value, seconds=0.0, flags=[], record=ScoreRecord(figures))

    def _prior(self, name: str) -> Score:
        prior = self.prior.get(name)
        if prior is None:
            return self._missing(
                HISTORY_PRIOR, "no past target of this task has outcomes of this candidate and another"
            )
        figures: dict[str, Figure] = {"targets": prior.targets}
        return Score(measure=HISTORY_PRIOR, value=prior.value, seconds=0.0, flags=[], record=ScoreRecord(figures))

    def _missing(self, measure: str, reason: str) -> Score:
        flags = self.flags.of_missing
        return Score(measure=measure, value=None, seconds=0.0, flags=flags, record=ScoreRecord(), reason=reason)


def fusion(
    session: Session, ranking: Ranking, scores: Mapping[str, Scores], flags: Flags, *, group: str | None = None
) -> Fusion:
    """Fuse sound scores of candidates (name -> measure -> score) with what the ledger holds of other targets.

    Outcomes are of the comparison group `group` on targets that have it.
    """
    dataset = datasets.with_id(session, ranking.dataset_id)
    records = tuple(ledger.records(session, flags, protocol=ranking.protocol, group=group))
    history = of_task(others(records, target=dataset.name, cohort=dataset.cohort), dataset.task)
    own_record = next((record for record in records if record.target == dataset.name), None)
    prior = history_prior(history)
    trust, metrics = trust_of(session), capabilities.of_kind(session, METRICS)
    by_measure = _by_measure(scores, flags)
    metric = _metric(own_record, history, dataset, metrics)
    outcomes = own_record.outcomes if own_record else {}
    model = model_of(history, trust, by_measure)
    combination = combine(
        model,
        by_measure,
        _of_known(scores, by_measure, prior, model, outcomes),
        Terms(metric, is_bounded(metrics.get(metric)), ranking.tolerance, ranking.risk),
        known=outcomes,
    )
    return Fusion(
        dataset=dataset,
        records=records,
        history=tuple(history),
        trust=trust,
        metrics=metrics,
        prior={name: prior[name] for name in scores if name in prior},
        combination=combination,
        unit="points" if is_bounded(metrics.get(metric)) else metrics[metric].unit if metric in metrics else "",
        outcomes=outcomes,
        flags=flags,
    )


def _metric(
    own: TargetRecord | None,
    history: Sequence[TargetRecord],
    dataset: Dataset,
    metrics: Mapping[str, PublishedMetric],
) -> str:
    """The metric of outcomes here; before there are any, that of most past targets, or else the task's own."""
    if own is not None:
        return own.metric
    seen = Counter(record.metric for record in history)
    if seen:
        return max(sorted(seen), key=lambda name: seen[name])
    return next((name for name, one in metrics.items() if dataset.task in one.primary_for), "")


def is_bounded(metric: PublishedMetric | None) -> bool:
    """Whether the metric lies between 0 and 1 and a higher value is better, as of one that nobody published."""
    return metric is None or (metric.higher_is_better and (metric.lowest, metric.highest) == (0.0, 1.0))


def trust_of(session: Session) -> dict[str, float]:
    """Measure -> the correlation with outcomes that published studies found, as published by the workers."""
    return {name: body.trust for name, body in capabilities.of_kind(session, MEASURES).items()}


def _by_measure(scores: Mapping[str, Scores], flags: Flags) -> dict[str, dict[str, float]]:
    by_measure: dict[str, dict[str, float]] = {}
    for name, of_candidate in scores.items():
        for measure, score in of_candidate.items():
            if flags.is_sound(score) and score.value is not None:
                by_measure.setdefault(measure, {})[name] = score.value
    return dict(sorted(by_measure.items()))


def _of_known(
    scores: Mapping[str, Scores],
    by_measure: Mapping[str, Mapping[str, float]],
    prior: Mapping[str, Prior],
    model: Model,
    outcomes: Mapping[str, float],
) -> list[str]:
    """Only candidates of whom something that counts is known: an average of nothing is no score."""
    slopes = dict(zip(model.measures, model.whole.slopes.tolist(), strict=True))
    counting = [of_measure for measure, of_measure in by_measure.items() if slopes[measure] != 0]
    return [
        name
        for name in sorted(scores)
        if name in prior or name in outcomes or any(name in of_measure for of_measure in counting)
    ]
