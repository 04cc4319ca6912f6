"""Each measure against its definition, and what makes it inapplicable."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.conformance.evidences import (
    METRICS,
    draw,
    evidence,
    features,
    score,
    stage,
)
from worker.science.errors import ScienceError
from worker.science.evidence.parts import Epoch
from worker.science.measures import cc_fv, knn, nleep
from worker.science.measures.cc_fv import gaussian, stage_consistency, wasserstein
from worker.science.measures.folds import grouped_folds
from worker.science.measures.h_score import shrunk_h_score
from worker.science.measures.knn import neighbours_skill
from worker.science.measures.leep import mean_log_expectation
from worker.science.measures.linear_probe import PENALTY, probe_skill
from worker.science.measures.logme import class_evidence
from worker.science.measures.logme_thuml import thuml_log_evidence
from worker.science.measures.nleep import mixtures_of
from worker.science.measures.registry import (
    NOT_APPLICABLE,
    SATURATED,
)
from worker.science.measures.transrate import binned, coding_rate_gain

CC_FV = ["cc_fv", "cc_fv_energy"]


@pytest.mark.parametrize(("rows", "width", "classes"), [(90, 8, 3), (40, 25, 3), (20, 60, 3)])
def test_transrate_is_its_definition(rows, width, classes):
    f = features(rows, width, classes)
    Z = f.values.double() - f.values.double().mean(0)

    def rate(z: torch.Tensor) -> float:
        return 0.5 * float(torch.logdet(torch.eye(width) + z.T @ z / (len(z) * 1e-4)))

    expected = rate(Z) - sum(rate(Z[f.labels == c]) for c in range(classes)) / classes
    assert coding_rate_gain(f.values, f.labels) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["one_epoch_curve_area", "one_epoch_curve_slope"])
def test_a_curve_that_falls_lower_is_better(name):
    slow, fast, one = (Epoch(losses, METRICS, 1.0) for losses in ((2.0, 1.9, 1.8), (2.0, 1.0, 0.5), (2.0,)))
    assert score(name, evidence(epoch=fast)).value > score(name, evidence(epoch=slow)).value
    assert score(name, evidence(epoch=one)).flags == (NOT_APPLICABLE.name,)


def test_area_and_slope_are_those_of_an_epoch_of_length_one():
    line = evidence(epoch=Epoch((3.0, 2.0, 1.0), METRICS, 1.0))
    assert score("one_epoch_curve_area", line).value == pytest.approx(-2.0)
    assert score("one_epoch_curve_slope", line).value == pytest.approx(2.0)


def test_nleep_has_the_logarithm_and_falls_back_to_diagonal_covariances(monkeypatch):
    found = score("nleep", evidence(features=features(spread=3.0)))
    assert found.value <= 0 < found.record["without_log"] <= 1
    assert found.value <= math.log(found.record["without_log"])  # Jensen
    assert (found.record["clusters"], found.record["covariance"]) == (15, "full")
    fit = GaussianMixture.fit

    def singular(model, rows):
        if model.covariance_type == "full":
            raise ValueError("ill-defined empirical covariance")
        return fit(model, rows)

    monkeypatch.setattr(GaussianMixture, "fit", singular)
    assert score("nleep", evidence(features=features(spread=3.0))).record["covariance"] == "diag"


def test_nleep_is_the_mean_of_five_mixtures_and_keeps_their_spread():
    f = features(spread=0.7)
    record = score("nleep", evidence(features=f)).record
    apart = [leep_of(mixture.posteriors, f.labels) for mixture in mixtures_of(f.values, f.labels, 15)]
    assert len(set(apart)) == 5
    assert record["mixtures"] == pytest.approx(apart)
    assert score("nleep", evidence(features=f)).value == pytest.approx(np.mean(apart))
    assert record["spread"] > 0
    assert record["spread"] == pytest.approx(np.std(apart, ddof=1))


def test_nleep_projects_once_for_all_mixtures(monkeypatch):
    project, projected = nleep._project, []
    monkeypatch.setattr(nleep, "_project", lambda values: projected.append(project(values)) or projected[-1])
    assert len(score("nleep", evidence(features=features())).record["mixtures"]) == 5
    assert len(projected) == 1


def leep_of(posteriors, labels):
    return mean_log_expectation(torch.from_numpy(posteriors), labels)


@pytest.mark.parametrize(("rows", "classes"), [(101, 20), (60, 8), (301, 60)])
def test_nleep_does_not_score_noise_of_few_rows_as_the_maximum(rows, classes):
    """With a cluster for every row or two each knows its own labels: 0, whatever the features are."""
    noise = features(rows, 10, classes, spread=0.0)
    found = score("nleep", evidence(features=noise))
    assert found.record["clusters"] == (rows - 1) // 5
    assert "few_clusters" in found.flags
    told = features(rows, 10, classes, spread=3.0)
    assert found.value < -0.5
    assert found.value < score("nleep", evidence(features=told)).value - 0.2


def test_nleep_is_not_applicable_without_more_than_five_rows_a_class():
    found = score("nleep", evidence(features=features(100, 10, 20)))
    assert (found.value, found.flags) == (None, (NOT_APPLICABLE.name,))
    assert "100 samples" in found.reason
    assert "20 classes" in found.reason


def test_nleep_fits_as_many_rows_of_a_rare_class_as_it_has(monkeypatch):
    monkeypatch.setattr(nleep, "LARGEST", 40)
    classes = np.repeat([0, 1, 2], [60, 5, 55])
    rows = nleep.drawn(classes, seed=0)
    assert np.bincount(classes[rows]).tolist() == [18, 5, 17]
    assert sorted(set(rows)) == rows.tolist()
    assert not np.array_equal(rows, nleep.drawn(classes, seed=1))
    f, order = features(), torch.randperm(120, generator=torch.Generator().manual_seed(5))
    mixed = replace(f, values=f.values[order], labels=f.labels[order], groups=f.groups[order])
    value = score("nleep", evidence(features=f)).value
    assert score("nleep", evidence(features=mixed)).value == pytest.approx(value, rel=1e-12)


def test_nleep_takes_diagonal_covariances_where_clusters_have_fewer_rows_than_dimensions():
    assert score("nleep", evidence(features=features(120, 60))).record["covariance"] == "diag"


@pytest.mark.parametrize("skill", [neighbours_skill, probe_skill])
def test_cross_validation_keeps_groups_apart(skill):
    """Rows of one image are near copies of each other: with groups there is nothing to learn from them."""
    images = draw(30, 40, seed=3)
    groups = torch.arange(30).repeat_interleave(6)
    labels = (torch.arange(30) % 2)[groups]
    values = images[groups] + 0.01 * draw(180, 40)
    apart, leaking = skill(values, labels, groups), skill(values, labels, torch.arange(180))
    assert apart < 0.75 < leaking
    alone = replace(features(), groups=torch.zeros(120, dtype=torch.int64))
    assert score("knn", evidence(features=alone)).flags == (NOT_APPLICABLE.name,)


@pytest.mark.parametrize("skill", [neighbours_skill, probe_skill])
def test_cross_validation_takes_real_targets(skill):
    F, groups = draw(200, 4), torch.arange(200) // 2
    targets = torch.stack((F @ draw(4, seed=5), F[:, 0] - F[:, 1]), 1)
    assert 0.5 < skill(F, targets, groups) <= 1
    assert skill(F, draw(200, 2, seed=8), groups) < 0.2
    with pytest.raises(ScienceError, match="finite"):
        skill(F, torch.full((200,), float("nan")), groups)


@pytest.mark.parametrize("skill", [neighbours_skill, probe_skill])
def test_cross_validation_takes_yes_or_no_columns_and_leaves_out_those_that_do_not_vary(skill):
    F, groups = draw(200, 4), torch.arange(200) // 2
    labels = torch.stack((F[:, 0] > 1, F[:, 1] < 0), 1).long()
    found = skill(F, labels, groups)
    assert 0.8 < found <= 1
    assert skill(F, torch.cat((labels, torch.zeros(200, 1).long()), 1), groups) == pytest.approx(found)
    assert abs(skill(F, labels[torch.randperm(200)], groups) - 0.5) < 0.2
    with pytest.raises(ScienceError, match="don't vary"):
        skill(F, torch.ones(200, 2).long(), groups)


def test_the_ridge_probe_is_scikit_learns():
    f = features(task="regression")
    fold = grouped_folds(f.groups)
    told = np.empty((120, 2))
    for number in np.unique(fold):
        train, test = (f.values[torch.from_numpy(fold == number) == held].numpy() for held in (False, True))
        model = make_pipeline(StandardScaler(), Ridge(PENALTY * len(train)))
        told[fold == number] = model.fit(train, f.labels.numpy()[fold != number]).predict(test)
    assert probe_skill(f.values, f.labels, f.groups) == pytest.approx(r2_score(f.labels, told), rel=1e-4)


def test_a_regression_target_is_binned_by_its_quantiles():
    assert binned(draw(100)).bincount().tolist() == [20] * 5
    assert torch.equal(binned(draw(100).exp()), binned(draw(100)))  # no monotone change of unit matters
    for ties in ([0.0] * 99 + [1.0], [0.0] + [1.0] * 99, [0.0] * 98 + [1.0, 2.0], [0.0, 1.0]):
        values = torch.tensor(ties)
        own = binned(values)
        assert len(own.unique()) >= 2
        assert all(len(own[values == value].unique()) == 1 for value in values.unique())
    f = features(task="regression")
    expected = np.mean([coding_rate_gain(f.values, binned(f.labels[:, column])) for column in (0, 1)])
    found = score("transrate", evidence("regression"))
    assert found.value == pytest.approx(expected)
    assert found.record["bins"] == 5


def test_balanced_ridge_finds_a_rare_class():
    labels = (torch.arange(400) % 20 == 0).long()
    values = draw(400, 5) + 2.5 * labels[:, None]
    assert probe_skill(values, labels, torch.arange(400)) > 0.9


def test_cc_fv_rewards_alike_classes_and_prefers_the_published_sign():
    varied = {name: score(name, evidence(stages=(stage(shift=4.0),))).value for name in CC_FV}
    alike = {name: score(name, evidence(stages=(stage(shift=1.0),))).value for name in CC_FV}
    assert varied["cc_fv_energy"] < alike["cc_fv_energy"]
    blurred = replace(
        stage(), values=stage().values + draw(4, 6, seed=9)[stage().images] * (stage().labels == 1)[:, None]
    )
    assert score("cc_fv", evidence(stages=(blurred,))).value < alike["cc_fv"]


def test_cc_fv_is_the_mean_over_stages():
    """A network whose stages are alike scores as one of them, however many there are."""
    one, other = stage(shift=1.0), stage("decoder_2", shift=4.0)
    for name in CC_FV:
        alone = [score(name, evidence(stages=(found,))).value for found in (one, other)]
        assert score(name, evidence(stages=(one, other))).value == pytest.approx(np.mean(alone))


def test_cc_fv_takes_distances_once_for_both_signs(monkeypatch):
    taken = []
    monkeypatch.setattr(cc_fv, "stage_consistency", lambda of: taken.append(of.name) or stage_consistency(of))
    seen = evidence()
    values = [score(name, seen).value for name in CC_FV]
    assert taken == ["decoder_1", "decoder_2"]
    assert values == [score(name, evidence()).value for name in CC_FV]
    assert score("cc_fv", replace(seen, stages=(stage(shift=3.0),))).value != values[0]


def test_cc_fv_keeps_order_names_and_scale():
    one = stage()
    order = torch.randperm(len(one.labels))
    mixed = replace(one, values=one.values[order], labels=one.labels[order], images=one.images[order] + 7)
    renamed = replace(one, labels=torch.tensor([0, 9, 4])[one.labels])
    value = score("cc_fv", evidence(stages=(one,))).value
    for changed in (mixed, renamed):
        assert score("cc_fv", evidence(stages=(changed,))).value == pytest.approx(value, rel=1e-6)
    scaled = replace(one, values=one.values * 1e3)
    assert score("cc_fv", evidence(stages=(scaled,))).value == pytest.approx(value, abs=1e-3)


@pytest.mark.parametrize("name", CC_FV)
def test_cc_fv_is_not_applicable_without_two_images_of_a_class(name):
    one = stage(images=1)
    still = replace(stage(), values=torch.zeros_like(stage().values))
    background = replace(stage(), labels=torch.zeros_like(stage().labels))
    for stages in ((), (one,), (still,), (background,)):
        assert score(name, evidence(stages=stages)).flags == (NOT_APPLICABLE.name,)


def test_wasserstein_is_the_definition_with_matrix_roots():
    clouds = [draw(40, 5, seed=s).double().numpy() * (1 + s) + s for s in (1, 2)]
    S, T = (np.cov(cloud, rowvar=False) for cloud in clouds)
    half = sqrtm(T)
    trace = np.trace(S + T - 2 * sqrtm(half @ S @ half).real)
    expected = np.sqrt(np.square(clouds[0].mean(0) - clouds[1].mean(0)).sum() + trace)
    assert wasserstein(*map(gaussian, clouds)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("form", ["gbc", "gbc_diagonal"])
def test_gbc_that_underflows_is_flagged_and_keeps_its_logarithm(form):
    far = features()
    far = replace(far, values=far.values * 0.01 + 10 * torch.nn.functional.one_hot(far.labels, 12))
    found = score(form, evidence(features=far))
    assert found.value == 0.0
    assert SATURATED.name in found.flags
    assert found.record["log_overlap"] < -745


def test_h_score_is_its_definition_and_bounded():
    f = features(spread=3.0)
    found = shrunk_h_score(f.values, f.labels)
    F = f.values.double().numpy()
    F = F - F.mean(0)
    means = np.stack([F[f.labels == c].mean(0) for c in range(3)])[f.labels]
    mu = np.trace(F.T @ F / 120) / 12
    sigma = (1 - found.shrinkage) * F.T @ F / 120 + found.shrinkage * mu * np.eye(12)
    expected = (1 - found.shrinkage) * np.trace(np.linalg.solve(sigma, np.cov(means, rowvar=False)))
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert 0 < found.value < 2


def test_the_fixed_point_rule_ends_near_the_maximum():
    f = features()
    near = thuml_log_evidence(f.values, f.labels, corrected=True)
    assert near == pytest.approx(class_evidence(f.values, f.labels).score, abs=1e-4)


@pytest.mark.parametrize(("rows", "width", "classes"), [(600, 20, 3), (600, 40, 30), (60, 59, 2)])
def test_transrate_is_its_definition_with_small_and_large_classes(rows, width, classes):
    """Classes above and below the width, and some of each: 1/2 log det(I + Z^T Z / (n eps)) of (D, D) each."""
    f = features(rows, width, classes)
    labels = f.labels.where(torch.arange(rows) > rows // 3, 0)  # one class is larger than the others
    centred = f.values.double() - f.values.double().mean(0)
    identity = torch.eye(width, dtype=torch.float64)

    def rate(z: torch.Tensor) -> float:
        return 0.5 * float(torch.logdet(identity + z.T @ z / (len(z) * 1e-4)))

    expected = rate(centred) - np.mean([rate(centred[labels == label]) for label in range(classes)])
    assert coding_rate_gain(f.values, labels) == pytest.approx(expected, rel=1e-12)


def neighbours_by_definition(values, columns, groups, weights):
    """Mean over every order of the rows, which rows at one distance stand in by chance: by exact counting."""
    fold, values = grouped_folds(groups), values.double().numpy()
    predicted = []
    for row in range(len(values)):
        others = np.flatnonzero(fold != fold[row])
        distances = np.square(values[others] - values[row]).sum(1)
        order = np.argsort(distances, kind="stable")
        places = np.pad(weights / weights.sum(), (0, len(others) - len(weights)))
        shared = np.empty(len(others))
        for distance in np.unique(distances):
            shared[distances == distance] = places[distances[order] == distance].mean()
        predicted.append(shared @ columns[others])
    return np.array(predicted)


@pytest.mark.parametrize("dead", [0, 30, 90])
def test_nearest_rows_at_one_distance_share_their_places(dead):
    """Whole numbers, many of them equal, and a share of rows that no input moves."""
    values = (2 * draw(120, 3)).round()
    values[torch.randperm(120, generator=torch.Generator().manual_seed(3))[:dead]] = 1.0
    groups, targets = torch.arange(120) // 4, draw(120, 2, seed=4)
    expected = neighbours_by_definition(values, targets.double().numpy(), groups, np.ones(5))
    assert neighbours_skill(values, targets, groups) == pytest.approx(
        r2_score(targets.double().numpy(), expected), rel=1e-9
    )


def test_nearest_rows_far_from_the_origin_are_still_told_apart():
    """Two clouds 1000 apart whose rows differ by 0.01: in float32 the squared lengths swallow the distances."""
    near = (torch.arange(200) % 50)[:, None] * torch.tensor([[0.01, 0.0]])
    values = (near + 1000.0 * (torch.arange(200) >= 100)[:, None]).double()
    assert neighbours_skill(values, near[:, :1].float(), torch.arange(200)) > 0.99


def test_nearest_rows_of_many_do_not_depend_on_their_order(monkeypatch):
    monkeypatch.setattr(knn, "LARGEST", 40)
    f, order = features(), torch.randperm(120, generator=torch.Generator().manual_seed(5))
    value = neighbours_skill(f.values, f.labels, f.groups)
    assert neighbours_skill(f.values[order], f.labels[order], f.groups[order]) == value
