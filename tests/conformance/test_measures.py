"""Laws that every registered measure keeps, and those of the feature measures."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from tests.conformance.evidences import (
    MEASURES,
    METRICS,
    constant_column,
    draw,
    drifted,
    duplicate_columns,
    evidence,
    features,
    fewer_rows,
    finite,
    repeated_rows,
    score,
    separable,
    singleton_class,
    source_head,
)
from worker.science.evidence.parts import Affines, Epoch, Part, SourceHead
from worker.science.measures.ac_corr import BEYOND_PAPER, DEAD_WEIGHT, layer_correlation
from worker.science.measures.registry import (
    DEGENERATE,
    NOT_APPLICABLE,
    evaluate,
    register,
)
from worker.science.target_tasks.registry import LabelKind, target_task, target_tasks

TASKS = tuple(target_tasks())
CASES = [
    pytest.param(measure, task, id=f"{name}-{task}")
    for name, measure in MEASURES.items()
    for task in measure.tasks
]
FEATURE_CASES = [
    pytest.param(name, task, id=f"{name}-{task}")
    for name, measure in MEASURES.items()
    for task in measure.tasks
    if measure.needs == {"features"}
]
FEATURE_MEASURES = [name for name, measure in MEASURES.items() if measure.needs == {"features"}]
HEAD_MEASURES = [name for name, measure in MEASURES.items() if measure.needs == {"source_head"}]
SCALE_FREE = ["logme", "logme_intercept", "transrate_official", "h_score", "knn", "linear_probe"]
AC_CORR = ["ac_corr", "ac_corr_per_channel", "ac_corr_excess"]
OUTCOMES = ["one_epoch_outcome", "one_epoch_threshold_free", "one_epoch_loss"]


def test_measures_are_for_the_tasks_where_they_mean_something():
    """By the table of the methods: what needs classes is for targets with classes."""
    fitting = {task: {name for name, measure in MEASURES.items() if task in measure.tasks} for task in TASKS}
    assert set().union(*(measure.tasks for measure in MEASURES.values())) == set(TASKS)
    any_target = {*AC_CORR, *OUTCOMES, "one_epoch_curve_area", "one_epoch_curve_slope"}
    any_target |= {"logme", "logme_intercept", "knn", "linear_probe"}
    transrate = {"transrate", "transrate_official"}
    of_classes = {"leep", "nce", "nleep", "h_score", "gbc", "gbc_diagonal", "cc_fv", "cc_fv_energy"}
    assert any_target <= fitting["multilabel"]
    assert any_target | transrate <= fitting["regression"]
    assert not (of_classes | transrate) & fitting["multilabel"]
    assert not of_classes & fitting["regression"]


@pytest.mark.parametrize(("measure", "task"), CASES)
def test_every_measure_scores_ordinary_evidence(measure, task):
    found = evaluate(measure, evidence(task))
    assert finite(found), found.reason
    assert measure.title
    assert measure.source
    json.dumps(dict(found.record), allow_nan=False)


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_measures_look_only_at_what_they_name(measure):
    """Without the parts that a measure doesn't need its score is the same; without one it needs it says so."""
    seen = evidence()
    others = dict.fromkeys(set(Part) - measure.needs)
    assert evaluate(measure, replace(seen, **others)).value == evaluate(measure, seen).value
    for part in measure.needs:
        missing = evaluate(measure, replace(seen, **{part: None}))
        assert (missing.value, missing.flags) == (None, ("failed",))
        assert f"{part} was not gathered" in missing.reason


def test_needs_must_be_parts():
    with pytest.raises(ValueError, match="needs: colour is no part of the evidence; use features"):
        register(title="", source="", needs=("colour",))


@pytest.mark.parametrize(("measure", "task"), CASES)
def test_scores_repeat_and_leave_the_evidence_alone(measure, task):
    seen = evidence(task)
    before, labels = seen.features.values.clone(), seen.features.labels.clone()
    assert evaluate(measure, seen).value == evaluate(measure, seen).value
    assert torch.equal(seen.features.values, before)
    assert torch.equal(seen.features.labels, labels)


@pytest.mark.parametrize("spoil", [None, repeated_rows], ids=["ordinary", "repeated_rows"])
@pytest.mark.parametrize(("measure", "task"), CASES)
def test_sample_order_and_label_names_do_not_matter(measure, task, spoil):
    f = features(task=task)
    seen = evidence(task, features=spoil(f) if spoil else f)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(5))
    f = seen.features
    mixed = replace(f, values=f.values[order], labels=f.labels[order], groups=f.groups[order])
    renamed = replace(f, labels=torch.tensor([40, -3, 7])[f.labels] if f.labels.ndim == 1 else f.labels.flip(1))
    value = evaluate(measure, seen).value
    for changed in (mixed, renamed):
        assert evaluate(measure, replace(seen, features=changed)).value == pytest.approx(value, rel=1e-9)


DEGENERATE_INPUTS = [constant_column, duplicate_columns, repeated_rows, singleton_class, fewer_rows, separable]


@pytest.mark.parametrize("spoil", DEGENERATE_INPUTS, ids=lambda spoil: spoil.__name__)
@pytest.mark.parametrize(("measure", "task"), CASES)
def test_degenerate_features_give_finite_scores(measure, task, spoil):
    assert finite(evaluate(measure, evidence(task, features=spoil(features(task=task)))))


@pytest.mark.parametrize(("name", "task"), FEATURE_CASES)
def test_separated_classes_beat_shuffled_labels(name, task):
    apart = features(spread=2.0, task=task)
    shuffled = replace(apart, labels=apart.labels[torch.randperm(120)])
    assert score(name, evidence(task, features=apart)).value > score(name, evidence(task, features=shuffled)).value


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
    assert (found.value, found.flags, found.reason) == (None, (NOT_APPLICABLE.name,), "no class head")


def test_leep_of_a_head_that_tells_nothing_is_minus_the_entropy():
    labels = features().labels
    found = score("leep", evidence(source_head=SourceHead(torch.full((120, 5), 0.2).double(), labels)))
    assert found.value == pytest.approx(-math.log(3))
    assert found.record["without_information"] == pytest.approx(-math.log(3))


@pytest.mark.parametrize("factor", [1e-3, 1e3])
@pytest.mark.parametrize(("name", "task"), [case for case in FEATURE_CASES if case.values[0] in SCALE_FREE])
def test_these_measures_ignore_the_scale_of_features(name, task, factor):
    f = features(task=task)
    scaled = replace(f, values=f.values * factor)
    value = score(name, evidence(task, features=f)).value
    assert score(name, evidence(task, features=scaled)).value == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize(("name", "task"), FEATURE_CASES)
@pytest.mark.parametrize("spoiled", [float("nan"), float("inf")])
def test_feature_measures_refuse_what_is_not_finite(name, task, spoiled):
    f = features(task=task)
    f.values[3, 2] = spoiled
    found = score(name, evidence(task, features=f))
    assert (found.value, found.flags) == (None, ("failed",))
    assert "NaN" in found.reason


@pytest.mark.parametrize("name", FEATURE_MEASURES)
def test_feature_measures_refuse_one_class_and_one_sample(name):
    f = features()
    one_class = replace(f, labels=torch.zeros_like(f.labels))
    one_sample = replace(f, values=f.values[:1], labels=f.labels[:1], groups=f.groups[:1])
    assert "only one class" in score(name, evidence(features=one_class)).reason
    assert "N >= 2" in score(name, evidence(features=one_sample)).reason


@pytest.mark.parametrize(("name", "task"), FEATURE_CASES)
def test_features_that_do_not_vary_are_degenerate(name, task):
    f = features(task=task)
    found = score(name, evidence(task, features=replace(f, values=torch.ones_like(f.values))))
    assert finite(found), found.reason
    assert DEGENERATE.name in found.flags


@pytest.mark.parametrize(("name", "task"), FEATURE_CASES)
def test_records_say_what_was_seen(name, task):
    found = score(name, evidence(task, features=singleton_class(fewer_rows(features(task=task)))))
    of_labels = {LabelKind.NUMBER: {"targets": 2}, LabelKind.YES_NO: {"labels": 3, "smallest_class": 1}}
    expected = {"N": 21, "D": 60, "scale": 1.7, "stage": "bottleneck"}
    expected |= of_labels.get(target_task(task).label_kind, {"C": 4, "smallest_class": 1})
    assert expected.items() <= found.record.items()
    assert "N<D" in found.flags
    assert "N<D" not in score(name, evidence()).flags


def test_ac_corr_of_a_tied_source_is_degenerate():
    tied = Affines(torch.ones(8), torch.zeros(8), torch.ones(8), draw(8))
    seen = evidence(affines={"norm": tied}, last_encoder_norm="norm")
    assert [score(name, seen).value for name in AC_CORR] == pytest.approx([8.0, 1.0, 0.0])
    assert all(DEGENERATE.name in score(name, seen).flags for name in AC_CORR)
    assert score("ac_corr", seen).record["tied_share"] == 1.0


def test_ac_corr_flags_one_channel_and_low_spread():
    assert DEGENERATE.name in layer_correlation(drifted(1)).flags
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
def test_ac_corr_says_which_norm_it_looked_at_and_when_the_paper_has_none(name):
    affines = {"a": drifted(8), "b": drifted(16)}
    seen = evidence(affines=affines, last_encoder_norm="b")
    assert BEYOND_PAPER.name not in score(name, seen).flags
    assert score(name, seen).record["norm"] == "BatchNorm2d"
    for path in affines:  # any of them changed what the epoch did
        other = {**affines, path: replace(affines[path], norm="GroupNorm")}
        found = score(name, evidence(affines=other, last_encoder_norm="b"))
        assert found.value == score(name, seen).value
        assert BEYOND_PAPER.name in found.flags
        assert found.record["norm"] == other["b"].norm
        assert found.record["layers"][path]["norm"] == "GroupNorm"
    assert BEYOND_PAPER.may_rank


@pytest.mark.parametrize("name", AC_CORR)
def test_ac_corr_says_why_the_last_norm_has_no_affines(name):
    left = {"encoder.9": "InstanceNorm2d without affine parameters"}
    found = score(name, evidence(last_encoder_norm="encoder.9", unconverted=left))
    assert found.flags == (NOT_APPLICABLE.name,)
    assert found.reason.endswith("the last encoder norm encoder.9: InstanceNorm2d without affine parameters")


@pytest.mark.parametrize("name", AC_CORR)
def test_ac_corr_is_not_applicable_without_a_last_norm(name):
    for missing in (None, "encoder.9"):
        found = score(name, evidence(last_encoder_norm=missing))
        assert (found.value, found.flags) == (None, (NOT_APPLICABLE.name,))
        assert "norm" in found.reason.lower()


@pytest.mark.parametrize("name", OUTCOMES)
def test_outcomes_need_a_defined_metric(name):
    for metrics in ({}, dict.fromkeys(METRICS, float("nan"))):
        found = score(name, evidence(epoch=Epoch((), metrics, 1.0)))
        assert found.flags == (NOT_APPLICABLE.name,)
        assert found.reason


@pytest.mark.parametrize("task", TASKS)
def test_outcomes_read_the_metrics_of_the_task(task):
    primary, threshold_free = target_task(task).primary, target_task(task).threshold_free
    expected = [one.signed(METRICS[one.name]) for one in (primary, threshold_free)]
    assert len(set(METRICS.values())) == len(METRICS)
    assert [score(name, evidence(task)).value for name in OUTCOMES] == [*expected, -METRICS["loss"]]


@pytest.mark.parametrize(
    ("task", "primary", "threshold_free"),
    [
        ("segmentation", "dice", "average_precision"),
        ("classification", "accuracy", "auc"),
        ("regression", "r2", "spearman"),
        ("multilabel", "auc", "average_precision"),
    ],
)
def test_outcomes_are_these_metrics_where_more_is_better(task, primary, threshold_free):
    expected = [METRICS[primary], METRICS[threshold_free], -METRICS["loss"]]
    assert [score(name, evidence(task)).value for name in OUTCOMES] == expected
