"""NCE: what the source head's most probable class leaves unknown of the label (Tran et al., ICCV 2019)."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from worker.science.evidence.parts import Evidence, Part, gathered
from worker.science.measures.leep import describe_head, usable
from worker.science.measures.registry import Score, register
from worker.science.measures.samples import present_classes


@register(title="NCE", source="Tran et al., ICCV 2019, Eq. 4", needs={Part.SOURCE_HEAD})
def nce(evidence: Evidence) -> Score:
    """Minus H(Y | Z), Z the source head's most probable class; at most 0, at least -H(Y)."""
    head = gathered(evidence.source_head, Part.SOURCE_HEAD)
    probabilities = usable(head)
    value = negative_conditional_entropy(probabilities.argmax(1), head.labels)
    return Score(value, record=describe_head(probabilities, head.labels))


def negative_conditional_entropy(source_labels: Tensor, labels: Tensor) -> float:
    """sum_yz P(y, z) log P(y | z) in nats; source_labels and labels: (N,) of any integers."""
    z = source_labels.unique(return_inverse=True)[1].numpy()
    y = present_classes(source_labels, labels).numpy()
    joint = np.zeros((y.max() + 1, z.max() + 1))
    np.add.at(joint, (y, z), 1.0 / len(y))
    conditional = joint / joint.sum(0)
    return float((joint * np.log(np.where(joint > 0, conditional, 1.0))).sum())
