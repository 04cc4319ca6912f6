"""What a ranking answers: the fused score's choice or its abstention, each measure's track record, and notes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from service.ledger import coverage, flags, left_out
from service.ledger.flags import Flags
from service.ledger.fusion import DERIVED, Fusion
from service.ledger.ranked_list import MIXED, Candidate, RankedList
from service.ledger.statistics.agreement import Agreement, agreements
from service.ledger.statistics.fused import FUSED, HISTORY_PRIOR, Combination, leave_one_out
from service.ledger.statistics.target_record import FEWEST_SIMILAR, of_task, similar
from service.store.answer_contents import Answer, Coverage, MeasureAgreement, NamedCandidate, TrackRecord
from service.store.tables import WorkState

NO_EVIDENCE = (
    "There is no evidence for an answer: no candidate that may be placed has a history, or a sound score of a "
    "measure that counts."
)


NOT_YET = TrackRecord(similar="the ranking is not over yet")


def answer_of(ranked: RankedList) -> Answer:
    """The fused score's answer; it abstains while a candidate is open, or where one is missing."""
    combination = ranked.fusion.combination
    covered = coverage.coverage_of(ranked.candidates)
    before = coverage.in_words(covered)
    if not combination.leaders:
        nothing_known = [NO_EVIDENCE] if covered.evaluated and not covered.open else []
        return Answer(text=" ".join([*before, *nothing_known]), coverage=covered)
    rows = {row.checkpoint.name: row for row in ranked.candidates}
    first, *others = combination.leaders
    leader = combination.candidates[first]
    run = _next_run(combination, rows) if others and not covered.open else None
    return Answer(
        text=" ".join([*before, _in_words(combination, run, covered)]),
        coverage=covered,
        separated=not others and covered.is_complete,
        first=_named(rows[first]),
        tied=tuple(_named(rows[name]) for name in (first, *others)) if others else (),
        probability_best=leader.best,
        steadiness=leader.first,
        expected_regret=leader.regret,
        past_targets=combination.targets,
        weights={name: weight for name, weight in combination.weights.items() if weight > 0},
        next_run=_named(run.candidate) if run else None,
        next_run_seconds=run.candidate.finetune_seconds if run else None,
    )


def _named(row: Candidate) -> NamedCandidate:
    return NamedCandidate(id=row.checkpoint.id, name=row.checkpoint.name)


@dataclass(frozen=True)
class _NextRun:
    candidate: Candidate
    timed: bool  # whether the seconds of all that could be run are known, and the choice is by them too


def _next_run(combination: Combination, rows: dict[str, Candidate]) -> _NextRun | None:
    """The tied candidate without an outcome here whose outcome is worth most for the seconds that it takes."""
    tied = [rows[name] for name in combination.leaders if rows[name].outcome is None]
    timed = all(row.finetune_seconds for row in tied)

    def worth(row: Candidate) -> float:
        gain = combination.candidates[row.checkpoint.name].gain
        return gain / row.finetune_seconds if timed and row.finetune_seconds else gain

    run = max(tied, key=worth, default=None)
    return _NextRun(run, timed) if run else None


def _in_words(combination: Combination, run: _NextRun | None, covered: Coverage) -> str:
    first, *others = combination.leaders
    leader = combination.candidates[first]
    basis = (
        f"learned from {_targets(combination.targets)}"
        if combination.targets
        else "no past target of this task to learn from, only what studies have published"
    )
    among = "" if covered.is_complete else " of these"
    sure = f"{leader.best:.0%} likely to be the best{among}; {basis}"
    loss = "" if leader.regret is None else f"; expected regret {leader.regret:.3f}"
    steady = f"leads in {leader.first:.0%} of resamplings of the evidence, {sure}{loss}."
    if not others:
        return f"Use {first}: it {steady}" if covered.is_complete else f"Of those evaluated, {first} {steady}"
    return (
        f"The evidence does not separate {', '.join((first, *others))}: {first} leads in only {leader.first:.0%} "
        f"of its resamplings, {sure}{loss}.{_then(run)}"
    )


def _then(run: _NextRun | None) -> str:
    if run is None:
        return ""
    why = "it helps the choice most" + (" for its time" if run.timed else "")
    return f" Finetune {run.candidate.checkpoint.name} next: {why}."


def track_record_of(fusion: Fusion, measures: Sequence[str]) -> TrackRecord:
    """Each measure's agreement on similar past targets; derived scores come from the other targets each time."""
    dataset = fusion.dataset
    past = similar(
        [left_out.record for left_out in leave_one_out(of_task(fusion.records, dataset.task), fusion.trust)],
        target=dataset.name,
        task=dataset.task,
        modality=dataset.modality,
        cohort=dataset.cohort,
    )
    names = [*DERIVED, *measures]
    by_measure = agreements(past.records, names)
    return TrackRecord(
        similar=past.how if past.records else f"no past {dataset.task} target has outcomes of two candidates",
        targets=tuple(record.target for record in past.records),
        measures={name: _to_store(by_measure[name]) if name in by_measure else None for name in names},
    )


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
    weights = fusion.combination.weights.items()
    trusted = order_by == FUSED and any(weight > 0 and fusion.trust.get(name) for name, weight in weights)
    basis = [*past, *(["what studies have published of these measures"] if trusted else [])]
    return [f"Thin history: this order rests on {' and on '.join(basis)}."] if placed else []


def _targets(count: int) -> str:
    return f"{count or 'no'} past target{'s' * (count != 1)}"
