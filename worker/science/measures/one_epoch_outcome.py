"""What the network already reaches after the one AC-Norm epoch, as a measure of its own."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

from worker.science.errors import NotApplicableError
from worker.science.evidence.parts import Evidence, Part, gathered
from worker.science.measures.registry import EVERY_TASK, Score, register
from worker.science.metrics import PRIMARY, THRESHOLD_FREE


@register(
    title="Outcome after one epoch",
    source="validation Dice, accuracy, R2 or AUC (multilabel) after one AC-Norm epoch",
    tasks=EVERY_TASK,
    needs={Part.EPOCH},
)
def one_epoch_outcome(evidence: Evidence) -> Score:
    """Validation Dice (segmentation), accuracy (classification), R^2 (regression) or AUC (multilabel)."""
    return _score(evidence, PRIMARY)


@register(
    title="Threshold-free outcome after one epoch",
    source="validation average precision, AUC (classification) or Spearman's rho (regression) "
    "after one AC-Norm epoch",
    tasks=EVERY_TASK,
    needs={Part.EPOCH},
)
def one_epoch_threshold_free(evidence: Evidence) -> Score:
    """Validation average precision (segmentation, multilabel), AUC (classification) or rank correlation."""
    return _score(evidence, THRESHOLD_FREE)


@register(
    title="Validation loss after one epoch",
    source="negated validation loss after one AC-Norm epoch",
    tasks=EVERY_TASK,
    needs={Part.EPOCH},
)
def one_epoch_loss(evidence: Evidence) -> Score:
    """Minus the loss that was trained on, over the validation images after the epoch."""
    found = _score(evidence, dict.fromkeys(PRIMARY, "loss"))
    return replace(found, value=-found.value) if found.value is not None else found


def _score(evidence: Evidence, metrics: dict[str, str]) -> Score:
    if evidence.task not in metrics:
        raise NotApplicableError(f"no metric is named for the task {evidence.task}")
    metric, epoch = metrics[evidence.task], gathered(evidence.epoch, Part.EPOCH)
    value = epoch.metrics.get(metric)
    if value is None:
        raise NotApplicableError(f"the epoch's validation did not report {metric}")
    if not isfinite(value):
        raise NotApplicableError(f"{metric} is undefined on the validation split (one class or value only?)")
    return Score(float(value), record={"metric": metric, "epoch_seconds": epoch.seconds})
