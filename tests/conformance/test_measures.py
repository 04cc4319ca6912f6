"""Laws that every registered measure keeps, and those of the feature measures."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.optimize import minimize
from sklearn.mixture import GaussianMixture

from worker.science.errors import ScienceError
from worker.science.evidence import PARTS, Affines, Epoch, Evidence, Features, SourceHead, Stage
from worker.science.measures.ac_corr import DEAD_WEIGHT, layer_correlation
from worker.science.measures.cc_fv import gaussian, wasserstein
from worker.science.measures.h_score import shrunk_h_score
from worker.science.measures.knn import neighbours_skill
from worker.science.measures.linear_probe import probe_skill
from worker.science.measures.logme import class_evidence, log_evidence
from worker.science.measures.logme_thuml import thuml_log_evidence
from worker.science.measures.registry import (
    DEGENERATE,
    NOT_APPLICABLE,
    SATURATED,
    Score,
    evaluate,
    measures,
    register,
)
from worker.science.measures.transrate import coding_rate_gain

MEASURES = measures()
FEATURE_MEASURES = [name for name, measure in MEASURES.items() if measure.needs == {"features"}]
HEAD_MEASURES = [name for name, measure in MEASURES.items() if measure.needs == {"source_head"}]
SCALE_FREE = ["logme", "transrate_official", "h_score", "knn", "linear_probe"]
CC_FV = ["cc_fv", "cc_fv_energy"]
AC_CORR = ["ac_corr", "ac_corr_per_channel", "ac_corr_excess"]
OUTCOMES = ["one_epoch_outcome", "one_epoch_threshold_free", "one_epoch_loss"]
METRICS = {"dice": 0.7, "average_precision": 0.8, "accuracy": 0.6, "auc": 0.9, "loss": 0.4}


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def features(rows: int = 120, width: int = 12, classes: int = 3, *, spread: float = 1.0) -> Features:
    labels = torch.arange(rows) % classes
    values = draw(rows, width) + spread * draw(classes, width, seed=1)[labels]
    return Features(values, labels, torch.arange(rows) // 4, scale=1.7, stage="bottleneck")


def drifted(channels: int = 16, drift: float = 0.1) -> Affines:
    weight, bias = 1 + 0.3 * draw(channels, seed=2), draw(channels, seed=3)
    return Affines(weight, bias, weight.clone(), bias + drift * draw(channels, seed=4))


def source_head(seen: Features) -> SourceHead:
    """A head that knows something of the labels, with a class that it never gives."""
    logits = draw(len(seen.labels), 4, seed=11) + 2 * draw(3, 4, seed=12)[seen.labels % 3]
    return SourceHead(torch.cat((logits.double().softmax(1), torch.zeros(len(logits), 1)), 1), seen.labels)


def stage(name: str = "decoder_1", *, images: int = 4, shift: float = 1.0) -> Stage:
    """Two classes and background at 30 voxels each in every image; images differ by `shift`."""
    labels, rows = torch.arange(90).repeat(images) % 3, torch.arange(images).repeat_interleave(90)
    values = draw(len(rows), 6) + draw(3, 6, seed=1)[labels] + shift * draw(images, 6, seed=2)[rows]
    return Stage(name, values, labels, rows, scale=2.0)


def evidence(task: str = "segmentation", **changes) -> Evidence:
    layers = {"encoder.0": drifted(8), "encoder.1": drifted(16)}
    epoch = Epoch((1.0, 0.5), METRICS, seconds=3.0)
    stages = (stage(), stage("decoder_2"))
    parts = Evidence(task, features(), layers, "encoder.1", 1.0, epoch, source_head(features()), stages)
    return replace(parts, **changes)


def score(name: str, seen: Evidence) -> Score:
    return evaluate(MEASURES[name], seen)


def finite(found: Score) -> bool:
    return found.value is not None and math.isfinite(found.value)


@pytest.mark.parametrize("task", ["classification", "segmentation"])
@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_every_measure_scores_ordinary_evidence(measure, task):
    if task not in measure.tasks:
        pytest.skip(f"{measure.name} is not for {task}")
    found = evaluate(measure, evidence(task))
    assert finite(found), found.reason
    assert measure.title
    assert measure.source
    json.dumps(dict(found.record), allow_nan=False)


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_measures_look_only_at_what_they_name(measure):
    """Without the parts that a measure doesn't need its score is the same; without one it needs it says so."""
    seen = evidence()
    others = dict.fromkeys(set(PARTS) - measure.needs)
    assert evaluate(measure, replace(seen, **others)).value == evaluate(measure, seen).value
    for part in measure.needs:
        missing = evaluate(measure, replace(seen, **{part: None}))
        assert (missing.value, missing.flags) == (None, ("failed",))
        assert f"{part} was not gathered" in missing.reason


def test_needs_must_be_parts():
    with pytest.raises(ValueError, match="needs: colour is no part of the evidence; use features"):
        register(title="", source="", needs=("colour",))


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_scores_repeat_and_leave_the_evidence_alone(measure):
    seen = evidence()
    before = seen.features.values.clone()
    assert evaluate(measure, seen).value == evaluate(measure, seen).value
    assert torch.equal(seen.features.values, before)


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_sample_order_and_label_names_do_not_matter(measure):
    seen = evidence()
    order = torch.randperm(120, generator=torch.Generator().manual_seed(5))
    f = seen.features
    mixed = replace(f, values=f.values[order], labels=f.labels[order], groups=f.groups[order])
    renamed = replace(f, labels=torch.tensor([40, -3, 7])[f.labels])
    value = evaluate(measure, seen).value
    for changed in (mixed, renamed):
        assert evaluate(measure, replace(seen, features=changed)).value == pytest.approx(value, rel=1e-9)


def constant_column(f: Features) -> Features:
    values = f.values.clone()
    values[:, 0], values[:, 1] = 0.0, 3.0
    return replace(f, values=values)


def duplicate_columns(f: Features) -> Features:
    return replace(f, values=f.values.repeat(1, 2))


def singleton_class(f: Features) -> Features:
    labels = f.labels.clone()
    labels[0] = 9
    return replace(f, labels=labels)


def fewer_rows(f: Features) -> Features:
    return features(20, 60)


def separable(f: Features) -> Features:
    return replace(f, values=torch.nn.functional.one_hot(f.labels).float())


DEGENERATE_INPUTS = [constant_column, duplicate_columns, singleton_class, fewer_rows, separable]


@pytest.mark.parametrize("spoil", DEGENERATE_INPUTS, ids=lambda spoil: spoil.__name__)
@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_degenerate_features_give_finite_scores(measure, spoil):
    assert finite(evaluate(measure, evidence(features=spoil(features()))))


@pytest.mark.parametrize("name", FEATURE_MEASURES)
def test_separated_classes_beat_shuffled_labels(name):
    apart = features(spread=2.0)
    shuffled = replace(apart, labels=apart.labels[torch.randperm(120)])
    assert score(name, evidence(features=apart)).value > score(name, evidence(features=shuffled)).value


@pytest.mark.parametrize("name", HEAD_MEASURES)
def test_head_measures_keep_the_same_laws(name):
    """Order and names of samples and classes don't matter; knowing more is better; never above 0."""
    known = source_head(features())
    order, renamed = torch.randperm(120), torch.tensor([40, -3, 7])[known.labels]
    shuffled = replace(known, labels=known.labels[order])
    same = [
        replace(known, probabilities=known.probabilities[order], labels=known.labels[order]),
        replace(known, probabilities=known.probabilities.flip(1), labels=renamed),
    ]
    value, less = (score(name, evidence(source_head=head)).value for head in (known, shuffled))
    assert less < value <= 0
    assert value >= score(name, evidence()).record["without_information"]
    for head in same:
        assert score(name, evidence(source_head=head)).value == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("name", HEAD_MEASURES)
def test_head_measures_are_not_applicable_without_probabilities(name):
    found = score(name, evidence(source_head=SourceHead(None, features().labels, "no class head")))
    assert (found.value, found.flags, found.reason) == (None, (NOT_APPLICABLE,), "no class head")


def test_leep_of_a_head_that_tells_nothing_is_minus_the_entropy():
    labels = features().labels
    found = score("leep", evidence(source_head=SourceHead(torch.full((120, 5), 0.2).double(), labels)))
    assert found.value == pytest.approx(-math.log(3))
    assert found.record["without_information"] == pytest.approx(-math.log(3))


@pytest.mark.parametrize("factor", [1e-3, 1e3])
@pytest.mark.parametrize("name", SCALE_FREE)
def test_these_measures_ignore_the_scale_of_features(name, factor):
    f = features()
    scaled = replace(f, values=f.values * factor)
    value = score(name, evidence(features=f)).value
    assert score(name, evidence(features=scaled)).value == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("name", FEATURE_MEASURES)
@pytest.mark.parametrize("spoiled", [float("nan"), float("inf")])
def test_feature_measures_refuse_what_is_not_finite(name, spoiled):
    f = features()
    f.values[3, 2] = spoiled
    found = score(name, evidence(features=f))
    assert (found.value, found.flags) == (None, ("failed",))
    assert "NaN" in found.reason


@pytest.mark.parametrize("name", FEATURE_MEASURES)
def test_feature_measures_refuse_one_class_and_one_sample(name):
    f = features()
    one_class = replace(f, labels=torch.zeros_like(f.labels))
    one_sample = replace(f, values=f.values[:1], labels=f.labels[:1], groups=f.groups[:1])
    assert "only one class" in score(name, evidence(features=one_class)).reason
    assert "N >= 2" in score(name, evidence(features=one_sample)).reason


@pytest.mark.parametrize("name", FEATURE_MEASURES)
def test_features_that_do_not_vary_are_degenerate(name):
    f = features()
    found = score(name, evidence(features=replace(f, values=torch.ones_like(f.values))))
    assert finite(found), found.reason
    assert DEGENERATE in found.flags


@pytest.mark.parametrize("name", FEATURE_MEASURES)
def test_records_say_what_was_seen(name):
    found = score(name, evidence(features=singleton_class(fewer_rows(features()))))
    expected = {"N": 20, "D": 60, "C": 4, "smallest_class": 1, "scale": 1.7, "stage": "bottleneck"}
    assert expected.items() <= found.record.items()
    assert "N<D" in found.flags
    assert "N<D" not in score(name, evidence()).flags


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
    assert SATURATED in score("logme", evidence(features=separable(features()))).flags
    assert score("logme", evidence()).flags == ()


def test_logme_of_interpolated_labels_is_finite_while_rank_is_n():
    """20 samples in 60 dimensions fit any labels; with samples repeated the evidence has no bound."""
    wide = features(20, 60, spread=2.0)
    assert score("logme", evidence(features=wide)).flags == ("interpolated", "N<D")
    values, labels = wide.values.repeat(2, 1), wide.labels.repeat(2)
    twice = replace(wide, values=values, labels=labels, groups=torch.arange(40))
    assert score("logme", evidence(features=twice)).flags == (SATURATED, "N<D")


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


@pytest.mark.parametrize(("rows", "width", "classes"), [(90, 8, 3), (40, 25, 3), (20, 60, 3)])
def test_transrate_is_its_definition(rows, width, classes):
    f = features(rows, width, classes)
    Z = f.values.double() - f.values.double().mean(0)

    def rate(z: torch.Tensor) -> float:
        return 0.5 * float(torch.logdet(torch.eye(width) + z.T @ z / (len(z) * 1e-4)))

    expected = rate(Z) - sum(rate(Z[f.labels == c]) for c in range(classes)) / classes
    assert coding_rate_gain(f.values, f.labels) == pytest.approx(expected, rel=1e-9)


def test_ac_corr_of_a_tied_source_is_degenerate():
    tied = Affines(torch.ones(8), torch.zeros(8), torch.ones(8), draw(8))
    seen = evidence(affines={"norm": tied}, last_encoder_norm="norm")
    assert [score(name, seen).value for name in AC_CORR] == pytest.approx([8.0, 1.0, 0.0])
    assert all(DEGENERATE in score(name, seen).flags for name in AC_CORR)
    assert score("ac_corr", seen).record["tied_share"] == 1.0


def test_ac_corr_flags_one_channel_and_low_spread():
    assert DEGENERATE in layer_correlation(drifted(1)).flags
    assert layer_correlation(drifted(16, drift=0.001)).flags == ()
    assert layer_correlation(drifted(16, drift=1.0)).flags == ("low_spread",)


def test_ac_corr_grows_with_drift_from_its_zero_drift_value():
    still, near, far = (layer_correlation(drifted(64, drift)) for drift in (0.0, 0.01, 1.0))
    assert still.ac_corr_excess == 0.0
    assert still.ac_corr < near.ac_corr < far.ac_corr <= 64
    assert far.ac_corr_excess == pytest.approx((far.ac_corr - far.zero_drift) / 64)


def test_ac_corr_records_every_layer_and_dead_channels():
    affines = drifted(10)
    affines.source_weight[:3] = DEAD_WEIGHT / 2
    found = score("ac_corr_excess", evidence(affines={"a": drifted(8), "b": affines}, last_encoder_norm="b"))
    assert found.record["layer"] == "b"
    assert found.record["dead_share"] == pytest.approx(0.3)
    assert found.value == found.record["layers"]["b"]["ac_corr_excess"]
    assert found.record["layers"]["a"]["channels"] == 8


@pytest.mark.parametrize("name", AC_CORR)
def test_ac_corr_is_not_applicable_without_a_last_norm(name):
    for missing in (None, "encoder.9"):
        found = score(name, evidence(last_encoder_norm=missing))
        assert (found.value, found.flags) == (None, (NOT_APPLICABLE,))
        assert "norm" in found.reason.lower()


@pytest.mark.parametrize("name", OUTCOMES)
def test_outcomes_need_a_defined_metric(name):
    for metrics in ({}, dict.fromkeys(METRICS, float("nan"))):
        found = score(name, evidence(epoch=Epoch((), metrics, 1.0)))
        assert found.flags == (NOT_APPLICABLE,)
        assert found.reason


def test_outcomes_read_the_metric_of_the_task():
    values = [
        score(name, evidence(task)).value for task in ("segmentation", "classification") for name in OUTCOMES
    ]
    assert values == [0.7, 0.8, -0.4, 0.6, 0.9, -0.4]


@pytest.mark.parametrize("name", ["one_epoch_curve_area", "one_epoch_curve_slope"])
def test_a_curve_that_falls_lower_is_better(name):
    slow, fast, one = (Epoch(losses, METRICS, 1.0) for losses in ((2.0, 1.9, 1.8), (2.0, 1.0, 0.5), (2.0,)))
    assert score(name, evidence(epoch=fast)).value > score(name, evidence(epoch=slow)).value
    assert score(name, evidence(epoch=one)).flags == (NOT_APPLICABLE,)


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
    assert score("knn", evidence(features=alone)).flags == (NOT_APPLICABLE,)


@pytest.mark.parametrize("skill", [neighbours_skill, probe_skill])
def test_cross_validation_takes_real_targets(skill):
    F, groups = draw(200, 4), torch.arange(200) // 2
    targets = torch.stack((F @ draw(4, seed=5), F[:, 0] - F[:, 1]), 1)
    assert 0.5 < skill(F, targets, groups) <= 1
    assert skill(F, draw(200, 2, seed=8), groups) < 0.2
    with pytest.raises(ScienceError, match="finite"):
        skill(F, torch.full((200,), float("nan")), groups)


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
        assert score(name, evidence(stages=stages)).flags == (NOT_APPLICABLE,)


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
    assert SATURATED in found.flags
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
