"""LEEP: how well the source head's class probabilities predict the target's labels (Nguyen et al., ICML 2020)."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from worker.science.errors import NotApplicableError, ScienceError
from worker.science.evidence.parts import Evidence, Part, SourceHead, gathered
from worker.science.measures.registry import Score, register
from worker.science.measures.samples import Array, checked_features, present_classes


@register(
    title="LEEP",
    source="Nguyen et al., ICML 2020, Eq. 2",
    needs={Part.SOURCE_HEAD},
    trust=0.35,  # arXiv 2412.20172
)
def leep(evidence: Evidence) -> Score:
    """LEEP of the source head's probabilities; at most 0, and -H(Y) for an uninformative head."""
    head = gathered(evidence.source_head, Part.SOURCE_HEAD)
    probabilities = usable(head)
    return Score(
        mean_log_expectation(probabilities, head.labels), record=describe_head(probabilities, head.labels)
    )


def mean_log_expectation(probabilities: Tensor, labels: Tensor) -> float:
    """1/N sum_i log sum_z P(y_i | z) theta_iz, P from the joint sums of theta, in float64.

    probabilities theta: (N, C_s), rows summing to 1; labels: (N,). A source class that is never probable has no
    P(y | z) and adds nothing: it is dropped.
    """
    expected = expectation(probabilities, labels)
    return float(np.log(expected).mean())


def expectation(probabilities: Tensor, labels: Tensor) -> Array:
    """sum_z P(y_i | z) theta_iz of every sample, (N,), at most 1 and above 0: P(y_i | z) counts sample i too."""
    theta = checked_features(probabilities).astype(np.float64)
    if (theta < 0).any():
        raise ScienceError("source probabilities must not be negative; give the head's softmax")
    classes = present_classes(probabilities, labels).numpy()
    theta = theta[:, theta.sum(0) > 0]  # (N, Z)
    joint = np.zeros((classes.max() + 1, theta.shape[1]))
    np.add.at(joint, classes, theta)
    conditional = joint / joint.sum(0)  # (C, Z): P(y | z)
    expected: Array = np.einsum("nz,nz->n", conditional[classes], theta).clip(max=1.0)
    return expected


def usable(head: SourceHead) -> Tensor:
    """The head's probabilities; NotApplicableError with the reason when there are none."""
    if head.probabilities is None:
        raise NotApplicableError(head.reason or "the checkpoint has no head that names classes")
    return head.probabilities


def describe_head(probabilities: Tensor, labels: Tensor) -> dict[str, Any]:
    """The record of a score of the source head; -H(Y) is the value without any information."""
    counts = labels.unique(return_counts=True)[1].double()
    share = counts / counts.sum()
    return {
        "N": len(labels),
        "C": len(counts),
        "source_classes": probabilities.shape[1],
        "smallest_class": int(counts.min()),
        "without_information": float((share * share.log()).sum()),
    }
