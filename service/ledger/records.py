"""The ledger as the statistics need it: one record a target, from outcomes and scores of all origins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean

from service.ledger.comparison import Compared, comparisons
from service.ledger.flags import Flags
from service.ledger.statistics.target_record import TargetRecord
from service.store import capabilities, checkpoints, datasets, outcomes, rankings
from service.store.contents import Protocol
from service.store.published import MEASURES
from service.store.session import Session
from service.store.tables import LedgerRow

Values = dict[str, float]  # candidate -> value


@dataclass(frozen=True)
class Slice:
    """Which part of the ledger: None takes all. `zoo` is the source of its rows."""

    target: str | None = None
    task: str | None = None
    modality: str | None = None
    architecture: str | None = None
    zoo: str | None = None
    metric: str | None = None
    source_task: str | None = None
    group: str | None = None  # id of a comparison group

    def has(self, record: TargetRecord) -> bool:
        """Whether the record is of this slice."""
        pairs = ((self.target, record.target), (self.task, record.task), (self.modality, record.modality))
        group = record.group.id if record.group else None
        return all(wanted is None or wanted == value for wanted, value in (*pairs, (self.group, group)))


@dataclass(frozen=True)
class _Described:
    """What a target is: as registered, else as imported with its rows."""

    task: str | None
    modality: str | None
    cohort: str | None


def records(
    session: Session,
    published: Flags,
    part: Slice = Slice(),
    *,
    protocol: Protocol | None = None,
    group: str | None = None,
    cases: bool = False,
) -> list[TargetRecord]:
    """Every target with outcomes, by name; `published` are the flags that say which scores count.

    A target's outcomes are of one comparison group: the slice's, or else `group`, where the target has it, else
    that with the most evidence. Own scores are of `protocol` where there are any, else of the protocol that scored
    most candidates, the latest of equals; never of two protocols for one measure. The outcomes of test images,
    which may be many, are read on demand (`cases`).
    """
    rows = outcomes.rows(session, target=part.target, source=part.zoo, cases=cases)
    described = _described(session, rows)
    allowed = _candidates_of(session, part)
    imported_scores, own_scores = _imported_scores(rows), _own_scores(session, published, protocol)
    comparison = comparisons(session)
    kept = []
    for target, of_target in sorted(_outcomes(rows, allowed).items()):
        compared = comparison.of(of_target, metric=part.metric, wanted=part.group or group)
        if compared:
            scores = {**imported_scores.get(target, {}), **own_scores.get(target, {})}
            kept.append(_record(target, described[target], compared, scores, cases=cases))
    return [record for record in kept if part.has(record)]


def _outcomes(rows: Iterable[LedgerRow], allowed: Set[str] | None) -> dict[str, list[LedgerRow]]:
    """Target -> its outcomes, oldest first, of the candidates that the slice is about."""
    by_target: dict[str, list[LedgerRow]] = {}
    for row in rows:
        if row.kind == "outcome" and (allowed is None or row.candidate in allowed):
            by_target.setdefault(row.target, []).append(row)
    return by_target


def _described(session: Session, rows: Iterable[LedgerRow]) -> dict[str, _Described]:
    described: dict[str, _Described] = {}
    for row in rows:
        before = described.get(row.target, _Described(None, None, None))
        described[row.target] = _Described(
            before.task or row.task, before.modality or row.modality, before.cohort or row.cohort
        )
    for name, dataset in datasets.named(session, described).items():
        described[name] = _Described(dataset.task, dataset.modality, dataset.cohort)
    return described


def _candidates_of(session: Session, part: Slice) -> set[str] | None:
    """The registered candidates that the slice is about; None: all, registered or not."""
    if part.architecture is None and part.source_task is None:
        return None
    asked = {"architecture": part.architecture, "source_task": part.source_task}
    filters = {name: value for name, value in asked.items() if value is not None}
    return {row.name for row in checkpoints.matching(session, filters)}


def _record(
    target: str, what: _Described, compared: Compared, scores: Mapping[str, Values], *, cases: bool
) -> TargetRecord:
    outcomes = _means(compared.rows)
    return TargetRecord(
        target=target,
        outcomes=outcomes,
        scores=scores,
        task=what.task,
        modality=what.modality,
        cohort=what.cohort,
        metric=compared.group.metric,
        cases=_case_means(compared.rows) if cases else {},
        group=compared.group,
        other_groups=compared.others,
        left_out=tuple(sorted(compared.candidates - set(outcomes))),
    )


def _means(rows: Iterable[LedgerRow]) -> Values:
    """Candidate -> mean over seeds, higher is better."""
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row.candidate, []).append(row.value if row.higher_is_better else -row.value)
    return {candidate: fmean(of_seeds) for candidate, of_seeds in sorted(values.items())}


def _case_means(rows: Iterable[LedgerRow]) -> dict[str, tuple[float, ...]]:
    """Candidate -> mean over runs of every test image's outcome, for candidates whose runs all hold them."""
    runs_of: dict[str, list[list[float | None] | None]] = {}
    for row in rows:
        runs_of.setdefault(row.candidate, []).append(row.cases)
    means = {}
    for candidate, runs in runs_of.items():
        whole = [run for run in runs if run]
        if len(whole) == len(runs) and len({len(run) for run in whole}) == 1:
            images = zip(*whole, strict=True)  # None: the metric is not defined for this image
            means[candidate] = tuple(fmean(image) for image in images if None not in image)
    return means


def _imported_scores(rows: Iterable[LedgerRow]) -> dict[str, dict[str, Values]]:
    """Target -> measure -> candidate -> score, higher is better, the mean over seeds and sources."""
    values: dict[str, dict[str, dict[str, list[float]]]] = {}
    for row in rows:
        if row.kind == "score":
            of_measure = values.setdefault(row.target, {}).setdefault(row.name, {})
            of_measure.setdefault(row.candidate, []).append(row.value if row.higher_is_better else -row.value)
    return {
        target: {
            measure: {candidate: fmean(scores) for candidate, scores in of_measure.items()}
            for measure, of_measure in of_target.items()
        }
        for target, of_target in values.items()
    }


def _own_scores(session: Session, published: Flags, protocol: Protocol | None) -> dict[str, dict[str, Values]]:
    """Target -> measure -> candidate -> sound score, of one protocol for each target and measure."""
    by_measure: dict[tuple[str, str], dict[Protocol, Values]] = {}  # target and measure -> protocol
    used_by = _protocols_as_used(session)
    for score in rankings.scores_of_ledger_targets(session):
        if published.may_rank(score.flags):
            by_protocol = by_measure.setdefault((score.target, score.measure), {})
            by_protocol.setdefault(used_by(score.measure, score.protocol), {})[score.candidate] = score.value
    chosen: dict[str, dict[str, Values]] = {}
    for (target, measure), by_protocol in by_measure.items():
        # dicts keep the order of insertion, and max takes the first of equals: the latest comes first
        wanted = protocol and used_by(measure, protocol)
        best = max(reversed(by_protocol), key=lambda used: (used == wanted, len(by_protocol[used])))
        chosen.setdefault(target, {})[measure] = by_protocol[best]
    return chosen


def _protocols_as_used(session: Session) -> Callable[[str, Protocol], Protocol]:
    """The protocol as a measure uses it: the common number of features is nothing to a measure that ignores it."""
    measures = capabilities.of_kind(session, MEASURES)
    growing = {name for name, measure in measures.items() if measure.grows_with_width}
    without_width = cache(lambda used: replace(used, feature_width=None))
    return lambda measure, used: used if measure in growing else without_width(used)
