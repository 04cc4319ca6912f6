"""LogME and TransRate against recorded values: a global maximiser of the evidence, and tllib."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from worker.science.measures.logme import class_evidence, log_evidence
from worker.science.measures.transrate import coding_rate_gain

FAMILY = "feature-measures"


def test_logme_reaches_the_global_maximum(case):
    if not case.expects("logme_oracle"):
        pytest.skip("the recorded evidence has no maximum here")
    features, targets = (torch.from_numpy(case.input(name)) for name in ("features", "targets"))
    found = log_evidence(features, targets) if targets.ndim == 2 else class_evidence(features, targets)
    case.check("logme_oracle", found.score)
    case.check("logme_oracle_per_target", found.per_target)


@pytest.mark.parametrize("epsilon", ["1e-4", "1e-2"])
def test_transrate(case, epsilon):
    name = f"transrate_tllib_eps{epsilon}"
    if not case.expects(name):
        pytest.skip("not recorded")
    features, labels = (torch.from_numpy(case.input(name)) for name in ("features", "targets"))
    case.check(name, coding_rate_gain(features, labels, epsilon=float(epsilon)))
    assert np.isfinite(case.arrays[f"out_{name}"])
