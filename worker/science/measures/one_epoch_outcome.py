"""The validation metrics after the one AC-Norm epoch, as measures."""

from __future__ import annotations

from math import isfinite

from worker.science.errors import NotApplicableError
from worker.science.evidence.parts import Evidence, Part, gathered
from worker.science.measures.registry import EVERY_KIND, Score, register
from worker.science.metrics import LOSS, Metric


@register(
    title="Outcome after one epoch",
    source="validation Dice, accuracy, R2 or AUC (multilabel) after one AC-Norm epoch",
    labels=EVERY_KIND,
    needs={Part.EPOCH},
)
def one_epoch_outcome(evidence: Evidence) -> Score:
    """Validation Dice (segmentation), accuracy (classification), R^2 (regression) or AUC (multilabel)."""
    return _score(evidence, evidence.task.primary)


@register(
    title="Threshold-free outcome after one epoch",
    source="validation average precision, AUC (classification) or Spearman's rho (regression) "
    "after one AC-Norm epoch",
    labels=EVERY_KIND,
    needs={Part.EPOCH},
)
def one_epoch_threshold_free(evidence: Evidence) -> Score:
    """Validation average precision (segmentation, multilabel), AUC (classification) or rank correlation."""
    return _score(evidence, evidence.task.threshold_free)


@register(
    title="Validation loss after one epoch",
    source="negated validation loss after one AC-Norm epoch",
    labels=EVERY_KIND,
    needs={Part.EPOCH},
)
def one_epoch_loss(evidence: Evidence) -> Score:
    """Minus the loss that was trained on, over the validation images after the epoch."""
    return _score(evidence, LOSS)


def _score(evidence: Evidence, metric: Metric) -> Score:
    epoch = gathered(evidence.epoch, Part.EPOCH)
    value = epoch.metrics.get(metric.name)
    if value is None:
        raise NotApplicableError(f"the epoch's validation did not report {metric.name}")
    if not isfinite(value):
        raise NotApplicableError(f"{metric.name} is undefined on the validation split (one class or value only?)")
    return Score(metric.signed(float(value)), record={"metric": metric.name, "epoch_seconds": epoch.seconds})
