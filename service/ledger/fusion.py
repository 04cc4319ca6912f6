"""A ranking's derived scores: the history prior and the fused score, from the ledger at every call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.ledger import records as ledger
from service.ledger.flags import Flags
from service.ledger.statistics.fused import FUSED, HISTORY_PRIOR, Combination, fuse
from service.ledger.statistics.prior import Prior, history_prior
from service.ledger.statistics.target_record import TargetRecord, of_task, others
from service.store import capabilities, datasets
from service.store.contents import Figure, ScoreRecord
from service.store.published import MEASURES
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
    prior: dict[str, Prior]
    combination: Combination
    outcomes: Mapping[str, float]  # of this very target, as far as there are any
    flags: Flags

    def scores(self, name: str) -> list[Score]:
        """The derived scores of one candidate; no prior where no candidate has a history."""
        fused = [self._fused(name)]
        return [*fused, self._prior(name)] if self.prior else fused

    def _fused(self, name: str) -> Score:
        candidate = self.combination.candidates.get(name)
        if candidate is None:
            return self._missing(FUSED, "no measure that counts has a sound score, and there is no history")
        figures: dict[str, Figure] = {
            "probability_best": candidate.best,
            "first": candidate.first,
            "expected_regret": candidate.regret,
            "gain": candidate.gain,
            "consensus": self.combination.consensus,
            "prior": self.combination.prior,
            "targets": self.combination.targets,
        }
        return Score(measure=FUSED, value=candidate.value, seconds=0.0, flags=[], record=ScoreRecord(figures))

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
    trust = trust_of(session)
    by_measure = _by_measure(scores, flags)
    combination = fuse(history, by_measure, sorted(scores), trust)
    return Fusion(
        dataset=dataset,
        records=records,
        history=tuple(history),
        trust=trust,
        prior={name: prior[name] for name in scores if name in prior},
        combination=_where_known(combination, by_measure, prior),
        outcomes=own_record.outcomes if own_record else {},
        flags=flags,
    )


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


def _where_known(
    combination: Combination, by_measure: Mapping[str, Mapping[str, float]], prior: Mapping[str, Prior]
) -> Combination:
    """Only candidates of whom something that counts is known: an average of nothing is no score."""
    counting = [of_measure for measure, of_measure in by_measure.items() if combination.weights[measure] > 0]
    return combination.only(
        [
            name
            for name in combination.candidates
            if name in prior or any(name in of_measure for of_measure in counting)
        ]
    )
