"""What a ranking answers: the fused score's choice or its abstention, and every measure's track record."""

from __future__ import annotations

from collections.abc import Sequence

from service.api.names import NamedOut
from service.api.rankings.schemas import AnswerOut, RankedOut, TrackRecordOut
from service.api.track_record import agreed
from service.ledger.fusion import DERIVED, Fusion
from service.ledger.statistics.fused import Combination, leave_one_out
from service.ledger.statistics.target_record import FEWEST_SIMILAR, of_task, similar

NOT_YET = TrackRecordOut(similar="the ranking is not over yet", targets=[], measures={})


def answer_of(fusion: Fusion, candidates: Sequence[RankedOut]) -> AnswerOut | None:
    """The fused score's answer; None where no candidate has one."""
    combination = fusion.combination
    if not combination.leaders:
        return None
    rows = {row.candidate.name: row for row in candidates}
    first, *others = combination.leaders
    known = combination.candidates[first]
    run = _next_run(combination, rows) if others else None
    return AnswerOut(
        separated=not others,
        first=_named(rows[first]),
        tied=[_named(rows[name]) for name in (first, *others)] if others else [],
        probability_best=known.best,
        steadiness=known.first,
        expected_regret=known.regret,
        past_targets=combination.targets,
        weights={name: weight for name, weight in combination.weights.items() if weight > 0},
        next_run=_named(run) if run else None,
        next_run_seconds=run.finetune_seconds if run else None,
        text=_in_words(combination, run),
    )


def _named(row: RankedOut) -> NamedOut:
    return NamedOut(id=row.candidate.id, name=row.candidate.name)


def _next_run(combination: Combination, rows: dict[str, RankedOut]) -> RankedOut | None:
    """Of the tied ones without an outcome here: whose outcome is worth most for the seconds that it takes."""
    tied = [rows[name] for name in combination.leaders if rows[name].outcome is None]
    seconds = [row.finetune_seconds for row in tied]
    timed = all(seconds)

    def worth(row: RankedOut) -> float:
        gain = combination.candidates[row.candidate.name].gain
        return gain / row.finetune_seconds if timed and row.finetune_seconds else gain

    return max(tied, key=worth, default=None)


def _in_words(combination: Combination, run: RankedOut | None) -> str:
    first, *others = combination.leaders
    known = combination.candidates[first]
    basis = (
        f"learned from {_targets(combination.targets)}"
        if combination.targets
        else "no outcome on other targets yet, only what studies have published"
    )
    sure = f"{known.best:.0%} likely to be the best; {basis}"
    loss = "" if known.regret is None else f"; expected regret {known.regret:.3f}"
    if not others:
        return f"Use {first}: it leads in {known.first:.0%} of resamplings of the evidence, {sure}{loss}."
    then = f" Finetune {run.candidate.name} next: it tells most for its time." if run else ""
    return (
        f"The evidence does not separate {', '.join((first, *others))}: {first} leads in only {known.first:.0%} "
        f"of its resamplings, {sure}{loss}.{then}"
    )


def track_record_of(fusion: Fusion, measures: Sequence[str]) -> TrackRecordOut:
    """Each measure's agreement on similar past targets; the fused score's with each of those left out."""
    dataset = fusion.dataset
    past = similar(
        [one.record for one in leave_one_out(of_task(fusion.records, dataset.task), fusion.trust)],
        target=dataset.name,
        task=dataset.task,
        modality=dataset.modality,
        cohort=dataset.cohort,
    )
    names = [*DERIVED, *measures]
    found = agreed(past.records, names)
    return TrackRecordOut(
        similar=past.how if past.records else f"no other {dataset.task} target has outcomes",
        targets=[record.target for record in past.records],
        measures={name: found.get(name) for name in names},
    )


def notes_on_order(fusion: Fusion, track_record: TrackRecordOut, order_by: str) -> list[str]:
    """What past targets say of this very order."""
    past = fusion.combination.targets
    if order_by in DERIVED and past < FEWEST_SIMILAR:
        return [f"Thin history: outcomes on {_targets(past)} stand behind this order; the rest is published."]
    found = track_record.measures.get(order_by)
    if found is None or found.weighted_tau is None or found.targets < FEWEST_SIMILAR or found.weighted_tau > 0:
        return []
    return [
        f"{order_by}: its own track record speaks against this order. On {found.targets} past targets its mean "
        f"weighted tau with outcomes is {found.weighted_tau:.2f}. Order by `fused` instead."
    ]


def _targets(count: int) -> str:
    return f"{count or 'no'} past target{'s' * (count != 1)}"
