"""The ranked list as it is shown, and what its reader should keep in mind."""

from __future__ import annotations

from collections.abc import Sequence

from service.api.rankings.schemas import CandidateOut, RankedOut, ScoreOut
from service.ledger.ranked_list import Candidate
from service.store.tables import Json, WorkState

MIXED_WIDTHS = "mixed_widths"

_MEANINGS = {
    MIXED_WIDTHS: "The candidates' layers have different widths: AC-Corr grows with the width, so its values "
    "can't be compared between candidates of different widths.",
    "few_steps": "few_steps: the one epoch had fewer than 20 training steps, so candidates had little time to "
    "differ.",
    "no_affine_norm": "no_affine_norm: AC-Norm found no norm layer with weight and bias from the checkpoint to "
    "recalibrate, so the one epoch was plain training and AC-Corr has no value.",
    "beyond_paper": "beyond_paper: AC-Norm recalibrated norm layers other than BatchNorm (GroupNorm, InstanceNorm "
    "or LayerNorm), which its paper leaves to future work: don't compare this AC-Corr with a BatchNorm network's.",
    "degenerate": "degenerate: the source's affine parameters carry no information (most channels are tied), so "
    "AC-Corr is large for no reason; a network that was never trained looks like this.",
    "low_spread": "low_spread: the affine parameters moved far in comparison with how far apart the channels "
    "are, where AC-Corr mostly tells how far.",
    "few_permutations": "few_permutations: fewer than 19 permutations of the labels, so the p of ac_corr_null "
    "can't reach 0.05, and its z rests on few values.",
    "saturated": "saturated: the features separate the labels exactly, so the number is set by rounding.",
    "interpolated": "interpolated: the features reproduce the labels of these few samples exactly; the number is "
    "finite, but says little of new samples.",
}


def candidate_in_list(row: Candidate, *, finetune: Json, records: bool, outcome: float | None) -> RankedOut:
    """One row, from the store's; `finetune` is the protocol that a finetune is estimated for."""
    evaluation, facts = row.evaluation, row.evaluation.facts or {}
    scores = {
        name: ScoreOut(
            value=score.value,
            position=row.positions.get(name),
            flags=score.flags,
            seconds=score.seconds,
            reason=score.reason,
            record=score.record if records else None,
        )
        for name, score in sorted(row.scores.items())
    }
    return RankedOut(
        position=row.position,
        evaluation=evaluation.id,
        candidate=CandidateOut.model_validate(row.checkpoint),
        state=evaluation.state,
        reason=evaluation.reason,
        stage=evaluation.stage,
        steps_done=evaluation.steps_done,
        steps_total=evaluation.steps_total,
        attempts=evaluation.attempts,
        scores=scores,
        flags=facts.get("flags", []),
        width=facts.get("width"),
        seconds=facts.get("seconds"),
        finetune_seconds=_finetune_seconds(facts, finetune),
        outcome=outcome,
        reused_from=evaluation.reused_from,
        facts=facts,
    )


def _finetune_seconds(facts: Json, finetune: Json) -> float | None:
    """All epochs of a finetune, from the one that was measured, which may have had fewer steps."""
    seconds = facts.get("finetune_epoch_seconds")
    if seconds is None:
        return None
    whole, measured = facts.get("epoch_steps"), facts.get("steps")
    steps = min(whole or 0, finetune.get("steps") or whole or 0)
    longer = steps / measured if steps and measured else 1.0
    return float(finetune["epochs"] * seconds * longer)


def flags_of(candidates: Sequence[RankedOut]) -> list[str]:
    """Flags of the list as a whole: its candidates' own, and what only their comparison shows."""
    widths = {row.width for row in candidates if row.state == WorkState.DONE and row.width is not None}
    own = {flag for row in candidates for flag in row.flags}
    return sorted(own | ({MIXED_WIDTHS} if len(widths) > 1 else set()))


def notes_of(candidates: Sequence[RankedOut], *, order_by: str) -> list[str]:
    """The list's caveats in words."""
    of_scores = {flag for row in candidates for score in row.scores.values() for flag in score.flags}
    shown = of_scores.union(flags_of(candidates))
    notes = [meaning for flag, meaning in _MEANINGS.items() if flag in shown]
    unplaced = [row for row in candidates if row.state == WorkState.DONE and row.position is None]
    if unplaced:
        names = ", ".join(row.candidate.name for row in unplaced)
        notes.append(f"Not placed, since their {order_by} is missing or flagged: {names}.")
    return notes
