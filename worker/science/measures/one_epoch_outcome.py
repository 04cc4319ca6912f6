"""What the network already reaches after the one AC-Norm epoch, as a measure of its own."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

from worker.science.errors import NotApplicableError
from worker.science.evidence import EPOCH, Evidence, gathered
from worker.science.measures.registry import Score, register
from worker.science.metrics import PRIMARY, THRESHOLD_FREE


@register(
    title="Outcome after one epoch", source="validation Dice or accuracy after one AC-Norm epoch", needs=(EPOCH,)
)
def one_epoch_outcome(evidence: Evidence) -> Score:
    """Validation Dice (segmentation) or accuracy (classification) after the epoch."""
    return _score(evidence, PRIMARY)


@register(
    title="Threshold-free outcome after one epoch",
    source="validation average precision or AUC after one AC-Norm epoch",
    needs=(EPOCH,),
)
def one_epoch_threshold_free(evidence: Evidence) -> Score:
    """Validation average precision (segmentation) or AUC (classification) after the epoch."""
    return _score(evidence, THRESHOLD_FREE)


@register(
    title="Validation loss after one epoch",
    source="negated validation loss after one AC-Norm epoch",
    needs=(EPOCH,),
)
def one_epoch_loss(evidence: Evidence) -> Score:
    """Minus the validation loss after the epoch: Dice plus cross-entropy, or cross-entropy."""
    found = _score(evidence, dict.fromkeys(PRIMARY, "loss"))
    return replace(found, value=-found.value) if found.value is not None else found


def _score(evidence: Evidence, metrics: dict[str, str]) -> Score:
    if evidence.task not in metrics:
        raise NotApplicableError(f"no metric is named for the task {evidence.task}")
    metric, epoch = metrics[evidence.task], gathered(evidence.epoch, EPOCH)
    value = epoch.metrics.get(metric)
    if value is None:
        raise NotApplicableError(f"the epoch's validation did not report {metric}")
    if not isfinite(value):
        raise NotApplicableError(f"{metric} is undefined on the validation split (one class only?)")
    return Score(float(value), record={"metric": metric, "epoch_seconds": epoch.seconds})
