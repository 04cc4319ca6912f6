"""LogME against the marginal likelihood itself."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import helmert
from scipy.optimize import minimize

from tests.conformance.evidences import (
    draw,
    duplicate_columns,
    evidence,
    features,
    score,
    separable,
)
from worker.science.errors import ScienceError
from worker.science.evidence.parts import Features
from worker.science.measures.logme import class_evidence, log_evidence
from worker.science.measures.registry import (
    NOT_APPLICABLE,
    SATURATED,
)


@pytest.mark.parametrize("factor", [1e-6, 1e-3, 1e3, 1e6])
@pytest.mark.parametrize(("rows", "width"), [(120, 12), (20, 60)])
def test_logme_ignores_the_scale_of_features(rows, width, factor):
    f = features(rows, width)
    expected = class_evidence(f.values.double(), f.labels).score
    assert class_evidence(f.values.double() * factor, f.labels).score == pytest.approx(expected, rel=1e-9)


def brute_force(F: np.ndarray, y: np.ndarray) -> float:
    """max over alpha, beta of log N(y | 0, I/beta + F F^T/alpha) / N, from the covariance itself."""
    rows = len(y)

    def loss(logs: np.ndarray) -> float:
        covariance = np.eye(rows) * np.exp(-logs[1]) + F @ F.T * np.exp(-logs[0])
        return 0.5 * (
            np.linalg.slogdet(covariance)[1] + y @ np.linalg.solve(covariance, y) + rows * np.log(2 * np.pi)
        )

    starts = [(a, b) for a in (-4.0, 0.0, 4.0) for b in (-2.0, 2.0)]
    options = {"xatol": 1e-9, "fatol": 1e-11, "maxiter": 2000}
    best = min(minimize(loss, s, method="Nelder-Mead", options=options).fun for s in starts)
    return -best / rows


@pytest.mark.parametrize(("rows", "width"), [(30, 5), (12, 12), (15, 25)])
def test_logme_is_the_marginal_likelihood(rows, width):
    F = draw(rows, width).double()
    y = F @ draw(width, seed=6).double() * 0.5 + draw(rows, seed=7).double()
    found = log_evidence(F, y)
    assert found.score == pytest.approx(brute_force(F.numpy(), y.numpy()), rel=1e-7)
    covariance = np.eye(rows) / found.beta[0] + (F @ F.T).numpy() / found.alpha[0]
    quadratic = y.numpy() @ np.linalg.solve(covariance, y.numpy())
    direct = -0.5 * (np.linalg.slogdet(covariance)[1] + quadratic + rows * np.log(2 * np.pi)) / rows
    assert found.score == pytest.approx(direct, rel=1e-10)


def test_logme_takes_columns_as_one_hot_and_streams():
    f = features(2500, 12)  # more than two blocks of rows
    columns = torch.nn.functional.one_hot(f.labels).float()
    by_class = class_evidence(f.values, f.labels)
    np.testing.assert_allclose(log_evidence(f.values, columns).per_target, by_class.per_target, rtol=1e-12)


def test_logme_says_when_labels_are_interpolated():
    assert SATURATED.name in score("logme", evidence(features=separable(features()))).flags
    assert score("logme", evidence()).flags == ()


def test_logme_of_interpolated_labels_is_finite_while_rank_is_n():
    """20 samples in 60 dimensions fit any labels; with samples repeated the evidence has no bound."""
    wide = features(20, 60, spread=2.0)
    assert score("logme", evidence(features=wide)).flags == ("interpolated", "N<D")
    values, labels = wide.values.repeat(2, 1), wide.labels.repeat(2)
    twice = replace(wide, values=values, labels=labels, groups=torch.arange(40))
    assert score("logme", evidence(features=twice)).flags == (SATURATED.name, "N<D")


def test_logme_counts_rank_without_rounding():
    assert score("logme", evidence(features=duplicate_columns(features()))).record["rank"] == 12


def evidence_curve(F: np.ndarray, y: np.ndarray, log_t: np.ndarray) -> np.ndarray:
    """Evidence a sample at each log t with the best beta, from K = I + F F^T / t itself."""
    values = []
    for t in np.exp(log_t):
        K = np.eye(len(y)) + F @ F.T / t
        beta = len(y) / (y @ np.linalg.solve(K, y))
        values.append(0.5 * (np.log(beta / (2 * np.pi)) - 1) - 0.5 * np.linalg.slogdet(K)[1] / len(y))
    return np.array(values)


@pytest.mark.parametrize(("weak", "higher"), [(0.2, "large"), (1.2, "small")])
def test_logme_takes_the_highest_of_several_maxima(weak, higher):
    """A target along columns of two scales: one maximum trusts the weak ones, the other doesn't."""
    F = np.linalg.qr(draw(60, 16).double().numpy())[0] * np.repeat([1e2, 1e-2], 8)
    y = F @ np.repeat([0.5 / 1e2, weak / 1e-2], 8) + 0.05 * draw(60, seed=3).double().numpy()
    log_t = np.linspace(-25, 25, 1001)
    curve = evidence_curve(F, y, log_t)
    rises = np.diff(curve) > 1e-9
    assert (rises[:-1] & (np.diff(curve)[1:] < -1e-9)).sum() == 2
    assert (log_t[curve.argmax()] > 0) == (higher == "large")
    found = log_evidence(torch.from_numpy(F), torch.from_numpy(y))
    assert found.score == pytest.approx(curve.max(), abs=1e-4)
    assert found.score >= curve.max() - 1e-12


def test_logme_does_not_prefer_wide_noise():
    labels = torch.arange(100) % 4
    informative = draw(100, 64) + 2 * draw(4, 64, seed=8)[labels]
    noise = draw(100, 2048, seed=9)
    assert class_evidence(informative, labels).score > class_evidence(noise, labels).score


def test_logme_refuses_bad_targets():
    F = draw(10, 3)
    with pytest.raises(ScienceError, match="finite"):
        log_evidence(F, torch.full((10,), float("nan")))
    with pytest.raises(ScienceError, match="zero throughout"):
        log_evidence(F, torch.zeros(10))
    with pytest.raises(ScienceError, match="all features are zero"):
        log_evidence(torch.zeros(10, 3), torch.ones(10))
    with pytest.raises(ScienceError, match="one a sample"):
        class_evidence(F, torch.zeros(9, dtype=torch.int64))


@pytest.mark.parametrize("task", ["segmentation", "regression", "multilabel"])
def test_logme_with_intercept_ignores_where_features_lie(task):
    f = features(task=task)
    moved = replace(f, values=f.values + torch.linspace(-9, 9, f.values.shape[1]))
    value = score("logme_intercept", evidence(task, features=f)).value
    assert score("logme_intercept", evidence(task, features=moved)).value == pytest.approx(value, rel=1e-4)
    assert score("logme", evidence(task, features=moved)).value != pytest.approx(
        score("logme", evidence(task, features=f)).value, rel=1e-2
    )


@pytest.mark.parametrize(("rows", "width"), [(120, 12), (20, 60)])
def test_logme_with_intercept_is_the_evidence_of_contrasts(rows, width):
    """Helmert's contrasts are another basis of what sums to zero; the evidence is the same in any."""
    f = features(rows, width, spread=0.3)
    columns = torch.nn.functional.one_hot(f.labels.unique(return_inverse=True)[1]).double()
    basis = torch.from_numpy(helmert(rows))  # (N - 1, N)
    expected = log_evidence(basis @ f.values.double(), basis @ columns).score
    assert score("logme_intercept", evidence(features=f)).value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("rows", "width"), [(120, 12), (20, 60)])
@pytest.mark.parametrize("task", ["segmentation", "regression"])
def test_logme_with_intercept_ignores_a_constant_in_features_and_targets(task, rows, width):
    f = features(rows, width, task=task)
    f = replace(f, values=f.values.round(decimals=2).double())
    moved = replace(f, values=f.values + 64.0, labels=f.labels + 8)
    value = score("logme_intercept", evidence(task, features=f)).value
    assert score("logme_intercept", evidence(task, features=moved)).value == pytest.approx(value, rel=1e-5)


def test_logme_with_intercept_places_noise_below_information_where_features_are_many():
    """300 samples in 512 dimensions: noise is worth the labels' spread alone, and nothing is saturated."""
    labels = torch.arange(300) % 2
    seen = Features(draw(300, 512), labels, torch.arange(300), 1.0, "encoder")
    noise = score("logme_intercept", evidence(features=seen))
    told = replace(seen, values=seen.values + 0.2 * draw(2, 512, seed=8)[labels])
    informative = score("logme_intercept", evidence(features=told))
    assert noise.value == pytest.approx(-0.5 * (math.log(0.25) + 1 + math.log(2 * math.pi)), abs=0.01)
    assert informative.value > noise.value + 0.3
    assert noise.flags == informative.flags == ("N<D",)
    assert noise.record["rank"] == 299


def test_logme_with_intercept_of_constant_features_is_that_of_the_labels_spread():
    f = features()
    columns = torch.nn.functional.one_hot(f.labels.unique(return_inverse=True)[1]).double()
    spread = columns.std(0)  # of N - 1 contrasts, whose mean is known to be 0
    expected = torch.distributions.Normal(0.0, spread).log_prob(spread).mean()
    for constant in (1.0, 0.1):
        values = torch.full_like(f.values, constant)
        found = score("logme_intercept", evidence(features=replace(f, values=values)))
        assert found.value == pytest.approx(float(expected))


def test_logme_with_intercept_needs_three_samples():
    two = Features(draw(2, 4), torch.tensor([0, 1]), torch.arange(2), 1.0, "encoder")
    found = score("logme_intercept", evidence(features=two))
    assert found.flags == (NOT_APPLICABLE.name,)
    assert "add labelled samples" in found.reason
