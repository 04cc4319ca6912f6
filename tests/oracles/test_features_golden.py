"""Feature measures against recorded values: a global maximiser of the evidence, and the public codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from worker.science.evidence.parts import Evidence, Features
from worker.science.measures.gbc import log_overlap
from worker.science.measures.h_score import shrunk_h_score
from worker.science.measures.leep import mean_log_expectation
from worker.science.measures.logme import class_evidence, log_evidence
from worker.science.measures.logme_thuml import thuml_log_evidence
from worker.science.measures.nce import negative_conditional_entropy
from worker.science.measures.registry import evaluate, measures
from worker.science.measures.transrate import coding_rate_gain, normalised_rate_gain
from worker.science.target_tasks.registry import target_task

FAMILY = "feature-measures"


def inputs(case, first: str = "features") -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(case.input(first)), torch.from_numpy(case.input("targets"))


def need(case, name: str) -> None:
    if not case.expects(name):
        pytest.skip(f"{name} is not recorded, or not to be compared")
    assert np.isfinite(case.arrays[f"out_{name}"])


def test_logme_reaches_the_global_maximum(case):
    if not case.expects("logme_oracle"):
        pytest.skip("the recorded evidence has no maximum here")
    features, targets = inputs(case)
    found = log_evidence(features, targets) if targets.ndim == 2 else class_evidence(features, targets)
    case.check("logme_oracle", found.score)
    case.check("logme_oracle_per_target", found.per_target)


def test_the_measure_takes_several_columns_as_they_are(case):
    """Regression and multi-label: the measure's own number, not only that of the function behind it."""
    features, targets = inputs(case)
    if targets.ndim == 1:
        pytest.skip("classes, not columns")
    multilabel = bool(((targets == 0) | (targets == 1)).all())
    seen = Features(
        features, targets.long() if multilabel else targets, torch.arange(len(features)), 1.0, "encoder"
    )
    score = evaluate(
        measures()["logme"], Evidence(target_task("multilabel" if multilabel else "regression"), seen)
    )
    assert case.expects("logme_oracle")
    case.check("logme_oracle", score.value)
    counted = {"labels": 6} if multilabel else {"targets": 3}
    assert counted.items() <= score.record.items()


@pytest.mark.parametrize(
    ("name", "corrected"), [("logme_thuml_fixed_point", False), ("logme_fixed_point_corrected", True)]
)
def test_logme_by_the_fixed_point_rule(case, name, corrected):
    need(case, name)
    case.check(name, thuml_log_evidence(*inputs(case), corrected=corrected))


@pytest.mark.parametrize("epsilon", ["1e-4", "1e-2"])
def test_transrate(case, epsilon):
    name = f"transrate_tllib_eps{epsilon}"
    need(case, name)
    case.check(name, coding_rate_gain(*inputs(case), epsilon=float(epsilon)))


def test_transrate_official(case):
    need(case, "transrate_official_sample_l2_eps1e-4")
    case.check("transrate_official_sample_l2_eps1e-4", normalised_rate_gain(*inputs(case)))


def test_regularised_h_score(case):
    need(case, "h_score_regularized_tllib")
    case.check("h_score_regularized_tllib", shrunk_h_score(*inputs(case)).value)


@pytest.mark.parametrize("form", ["spherical", "diagonal"])
def test_gbc(case, form):
    need(case, f"gbc_{form}")
    case.check(f"gbc_{form}", -np.exp(log_overlap(*inputs(case), spherical=form == "spherical")))


def test_leep_and_nce(case):
    need(case, "leep_thuml")
    leep, nce = (
        measure(*inputs(case, first))
        for measure, first in (
            (mean_log_expectation, "source_probs"),
            (negative_conditional_entropy, "source_labels"),
        )
    )
    for reference in ("thuml", "tllib"):
        case.check(f"leep_{reference}", leep)
        case.check(f"nce_{reference}", nce)
