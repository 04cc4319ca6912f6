"""LEEP and NCE at their edges against recorded values: sharp heads, a class never predicted, no information."""

from __future__ import annotations

import torch

from worker.science.measures.leep import mean_log_expectation
from worker.science.measures.nce import negative_conditional_entropy

FAMILY = "leep-nce"


def test_edges(case):
    sharp, zero, targets = (torch.from_numpy(case.input(name)) for name in ("probs", "probs_zero_col", "targets"))
    uniform = torch.full_like(sharp, 1 / sharp.shape[1])
    leep, nce = mean_log_expectation, negative_conditional_entropy
    case.check("leep_sharp", leep(sharp, targets))
    case.check("leep_tllib_sharp", leep(sharp, targets))
    case.check("leep_zero_column_dropped", leep(zero, targets))
    case.check("leep_uniform", leep(uniform, targets))
    case.check("nce_sharp", nce(sharp.argmax(1), targets))
    case.check("nce_tllib", nce(sharp.argmax(1), targets))
    case.check("nce_constant_source", nce(torch.zeros_like(targets), targets))
    assert abs(nce(targets, targets)) < 1e-15  # recorded as a rounding error
