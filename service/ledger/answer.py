"""What a ranking answers: what to do, what it may cost, each measure's track record, and notes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from service.ledger import coverage, flags, left_out
from service.ledger.flags import Flags
from service.ledger.fusion import DERIVED, Fusion, is_bounded
from service.ledger.ranked_list import MIXED, Candidate, RankedList
from service.ledger.sentences import DEVIATIONS, sentences
from service.ledger.statistics.agreement import Agreement, agreements
from service.ledger.statistics.combination import FUSED, HISTORY_PRIOR, answers, leave_one_out
from service.ledger.statistics.decision import Kind
from service.ledger.statistics.target_record import FEWEST_SIMILAR, of_task, similar
from service.store.answer_contents import Answer, MeasureAgreement, NamedCandidate, PastAnswers, TrackRecord
from service.store.tables import WorkState

NOT_YET = TrackRecord(similar="the ranking is not over yet")


@dataclass(frozen=True)
class Past:
    """Past targets of the ranking's task, each answered from the others as if it were new."""

    answers: PastAnswers | None
    track_record: TrackRecord


def answer_of(ranked: RankedList, past: PastAnswers | None = None) -> Answer:
    """What to do by the fused order; a choice among those evaluated while a candidate is open or missing."""
    combination, covered = ranked.fusion.combination, coverage.coverage_of(ranked.candidates)
    decision = combination.decision
    if decision is None:
        return _worded(Answer(text="", coverage=covered))
    rows = {row.checkpoint.name: row for row in ranked.candidates}
    listed = [rows[name] for name in combination.candidates]
    shortlist, equal = ([listed[place] for place in places] for places in (decision.shortlist, decision.equal))
    to_run = (
        []
        if decision.kind != Kind.SHORTLIST or covered.open
        else [row for row in shortlist if row.outcome is None]
    )
    first = decision.first
    return _worded(
        Answer(
            text="",
            coverage=covered,
            kind=decision.kind.value if covered.is_complete else None,
            first=_named(listed[first]),
            shortlist=tuple(map(_named, shortlist)),
            equal=tuple(map(_named, equal)),
            within_equal=float(decision.within[list(decision.equal)].min()) if equal else None,
            cheapest=_cheapest(equal),
            tolerance=combination.tolerance,
            risk=combination.risk,
            unit=ranked.fusion.unit if combination.in_units else DEVIATIONS,
            within=float(decision.within[first]),
            cover=decision.cover,
            probability_best=float(decision.best[first]),
            expected_regret=float(decision.regret[first]),
            regret_interval=(float(decision.regret_ends[0, first]), float(decision.regret_ends[1, first])),
            past=past,
            past_targets=combination.targets,
            weights={name: slope for name, slope in combination.slopes.items() if slope != 0},
            next_run=_named(to_run[0]) if to_run else None,
            next_run_seconds=to_run[0].finetune_seconds if to_run else None,
            shortlist_seconds=_seconds(to_run),
        )
    )


def _worded(answer: Answer) -> Answer:
    return replace(answer, text=" ".join([*coverage.in_words(answer.coverage), *sentences(answer)]))


def _named(row: Candidate) -> NamedCandidate:
    return NamedCandidate(id=row.checkpoint.id, name=row.checkpoint.name)


def _cheapest(rows: Sequence[Candidate]) -> NamedCandidate | None:
    """The one that trains fastest; None where the time of one is not known."""
    if _seconds(rows) is None:
        return None
    return _named(min(rows, key=lambda row: row.finetune_seconds or 0.0))


def _seconds(rows: Sequence[Candidate]) -> float | None:
    """Of finetuning all of these; None where there are none, or the time of one is not known."""
    seconds = [row.finetune_seconds for row in rows if row.finetune_seconds is not None]
    return sum(seconds) if rows and len(seconds) == len(rows) else None


def past_of(fusion: Fusion, measures: Sequence[str]) -> Past:
    """What was answered and what came on past targets, and each measure's agreement on similar ones.

    Derived scores come from the other targets each time.
    """
    dataset = fusion.dataset
    bounded = {name: is_bounded(metric) for name, metric in fusion.metrics.items()}
    left_out = leave_one_out(of_task(fusion.records, dataset.task), fusion.trust, bounded)
    history = {record.target for record in fusion.history}
    answered = answers([one for one in left_out if one.record.target in history])
    past = similar(
        [one.record for one in left_out],
        target=dataset.name,
        task=dataset.task,
        modality=dataset.modality,
        cohort=dataset.cohort,
    )
    names = [*DERIVED, *measures]
    by_measure = agreements(past.records, names)
    record = TrackRecord(
        similar=past.how if past.records else f"no past {dataset.task} target has outcomes of two candidates",
        targets=tuple(record.target for record in past.records),
        measures={name: _to_store(by_measure[name]) if name in by_measure else None for name in names},
    )
    came = PastAnswers(answered.targets, answered.regret_expected, answered.regret) if answered.targets else None
    return Past(came, record)


def _to_store(agreement: Agreement) -> MeasureAgreement:
    """An agreement as a revision stores it: None for what is not known."""
    return MeasureAgreement(
        targets=agreement.targets,
        candidates=agreement.candidates,
        no_ranking=agreement.no_ranking,
        weighted_tau=_known(agreement.weighted_tau),
        kendall_tau=_known(agreement.kendall_tau),
        pearson=_known(agreement.pearson),
        hits=agreement.hits,
        regret=_known(agreement.regret),
        p=_known(agreement.p),
        intervals=agreement.intervals,
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def notes_of(ranked: RankedList, track_record: TrackRecord) -> list[str]:
    """What to keep in mind when reading the list, in sentences."""
    order_by = ranked.ranking.order_by
    of_scores = {flag for row in ranked.candidates for names in row.score_flags.values() for flag in names}
    meanings = ranked.flags.meanings(of_scores.union(flags_of(ranked.candidates, ranked.flags)))
    apart = flags.PARTLY_LOADED if ranked.ranking.partly_loaded != MIXED else None
    unplaced = [row for row in ranked.candidates if _is_done(row) and row.position is None]
    names = ", ".join(row.checkpoint.name for row in unplaced if apart not in row.flags)
    missing = [f"Not placed, since their {order_by} is missing or flagged: {names}."] if names else []
    divided = left_out.divided(ranked.fusion, {row.checkpoint.name for row in ranked.candidates})
    on_order = _notes_on_order(ranked.fusion, track_record, order_by)
    return [*on_order, *left_out.in_words(divided), *meanings, *missing]


def flags_of(candidates: Sequence[Candidate], published: Flags) -> list[str]:
    """Flags of the list as a whole: its candidates' own, and those that only their comparison shows."""
    done = [(row.facts, row.scores) for row in candidates if _is_done(row)]
    return sorted({*published.of_list(done), *(flag for row in candidates for flag in row.flags)})


def _is_done(row: Candidate) -> bool:
    return row.evaluation.state == WorkState.DONE


def _notes_on_order(fusion: Fusion, track_record: TrackRecord, order_by: str) -> list[str]:
    """A note on the measure that the list is ordered by, from past targets."""
    if order_by in DERIVED and fusion.combination.targets < FEWEST_SIMILAR:
        return _thin_history(fusion, order_by)
    agreement = track_record.measures.get(order_by)
    if agreement is None or agreement.weighted_tau is None or agreement.targets < FEWEST_SIMILAR:
        return []
    if agreement.weighted_tau > 0:
        return []
    fused = track_record.measures.get(FUSED)
    better = fused is not None and (fused.weighted_tau or 0) > max(agreement.weighted_tau, 0)
    return [
        f"{order_by}: its own track record speaks against this order. On {agreement.targets} past targets its "
        f"mean weighted tau with outcomes is {agreement.weighted_tau:.2f}."
        + (f" Order by `{FUSED}` instead." if better else "")
    ]


def _thin_history(fusion: Fusion, order_by: str) -> list[str]:
    """What an order by a derived score rests on; nothing where no candidate is placed by it."""
    placed = fusion.prior if order_by == HISTORY_PRIOR else fusion.combination.candidates
    past = [f"outcomes on {_targets(fusion.combination.targets)}"] if fusion.combination.targets else []
    slopes = fusion.combination.slopes.items()
    trusted = order_by == FUSED and any(slope != 0 and fusion.trust.get(name) for name, slope in slopes)
    basis = [*past, *(["what studies have published of these measures"] if trusted else [])]
    return [f"Thin history: this order rests on {' and on '.join(basis)}."] if placed else []


def _targets(count: int) -> str:
    return f"{count or 'no'} past target{'s' * (count != 1)}"
