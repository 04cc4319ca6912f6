"""Measures that grow with the number of features are computed from as many for every candidate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from models_zoo.architecture import architectures, build
from tests.conformance.evidences import MEASURES, draw, evidence, features, score
from worker.science.evidence.parts import Features
from worker.science.measures.common_width import (
    MIXED_EXCESS_WIDTHS,
    MIXED_FEATURE_WIDTHS,
    first_components,
    of_common_width,
)
from worker.science.specs import CandidateSpec
from worker.science.stage_widths import stage_widths

GROWING = ["gbc", "gbc_diagonal", "h_score", "transrate", "transrate_official"]
LOGME = ["logme", "logme_intercept"]


def test_these_measures_grow_with_the_width_and_say_so_of_mixed_lists() -> None:
    growing = {name for name, measure in MEASURES.items() if measure.grows_with_width}
    assert growing == {*GROWING, *LOGME}
    assert all(MEASURES[name].list_flags == {MIXED_FEATURE_WIDTHS} for name in GROWING)
    assert all(MEASURES[name].list_flags == {MIXED_EXCESS_WIDTHS} for name in LOGME)


def noise(rows: int, width: int) -> Features:
    return Features(draw(rows, width), torch.arange(rows) % 3, torch.arange(rows), 1.0, "encoder")


@pytest.mark.parametrize("name", ["h_score", "transrate", "logme"])
def test_noise_of_many_features_is_worth_no_more_than_of_few_at_one_width(name: str) -> None:
    """At its own width it is worth more (LogME: with fewer samples than features), at the narrow one it isn't."""
    rows = 90
    narrow = score(name, evidence(features=noise(rows, 8))).value
    told = features(rows, 8, spread=1.0)
    told_value = score(name, evidence(features=told)).value
    at_one_width = score(name, evidence(features=noise(rows, 600), feature_width=8))
    assert abs(at_one_width.value - narrow) < abs(told_value - narrow) / 2
    assert at_one_width.record["D"] == 8
    assert at_one_width.record["projected_from"] == 600
    assert "N<D" not in at_one_width.flags


@pytest.mark.parametrize("name", [name for name, one in MEASURES.items() if one.needs == {"features"}])
def test_a_width_changes_nothing_for_other_measures_and_for_candidates_that_have_it(name: str) -> None:
    f = features(120, 24)
    own = score(name, evidence(features=f)).value
    assert score(name, evidence(features=f, feature_width=24)).value == own
    assert score(name, evidence(features=f, feature_width=100)).value == own
    assert score(name, evidence(features=f, feature_width=0)).value == own
    assert (score(name, evidence(features=f, feature_width=6)).value == own) == (name not in GROWING)


@pytest.mark.parametrize("name", [name for name in (*GROWING, *LOGME) if name != "gbc_diagonal"])
def test_columns_with_next_to_nothing_in_them_change_no_value_at_one_width(name: str) -> None:
    """Of features whose mean is not zero, as after a ReLU: a model without intercept needs it."""
    narrow = features(60, 8, spread=1.0)
    narrow = replace(narrow, values=(narrow.values + 0.5).relu())
    wide = replace(narrow, values=torch.cat([narrow.values, 1e-6 * draw(60, 120)], dim=1))
    seen = score(name, evidence(features=wide, feature_width=8))
    assert seen.record["projected_from"] == 128
    assert seen.value == pytest.approx(score(name, evidence(features=narrow)).value, abs=1e-3)


def test_diagonal_gbc_says_that_its_variances_are_along_other_axes() -> None:
    f = features(120, 24)
    assert "other_axes" in score("gbc_diagonal", evidence(features=f, feature_width=6)).flags
    assert "other_axes" not in score("gbc_diagonal", evidence(features=f, feature_width=24)).flags
    assert "other_axes" not in score("gbc", evidence(features=f, feature_width=6)).flags


@pytest.mark.parametrize(("rows", "width"), [(60, 20), (20, 60), (20, 8)])
def test_the_projection_is_principal_component_analysis(rows: int, width: int) -> None:
    f = features(rows, width)
    values = f.values.double().numpy()
    found = first_components(values - values.mean(0), 6)
    expected = PCA(6, svd_solver="full").fit_transform(values)
    assert np.abs(found) == pytest.approx(np.abs(expected), abs=1e-8)
    seen = of_common_width(evidence(features=f, feature_width=6))
    assert float((seen.values - seen.values.mean(0)).square().mean().sqrt()) == pytest.approx(1.0)
    assert seen.scale == pytest.approx(f.scale * float(np.sqrt(np.square(found).mean())))


def test_components_beyond_the_rank_are_zero() -> None:
    values = features(10, 60).values.double().numpy()
    found = first_components(values - values.mean(0), 30)
    assert found.shape == (10, 30)
    assert np.abs(found[:, 9:]).max() < 1e-6


def test_all_measures_of_one_evaluation_share_a_projection(monkeypatch: pytest.MonkeyPatch) -> None:
    widths = []
    module = "worker.science.measures.common_width.first_components"
    monkeypatch.setattr(module, lambda values, width: widths.append(width) or first_components(values, width))
    seen = evidence(features=features(120, 24), feature_width=6)
    for name in GROWING:
        score(name, seen)
    assert widths == [6]


@pytest.mark.parametrize(
    ("name", "dims"), [(name, dims) for name, one in architectures().items() for dims in one.spatial_dims]
)
def test_the_widths_of_every_architecture_are_those_of_its_stages(name: str, dims: int) -> None:
    network = build(name, spatial_dims=dims, in_channels=3, classes=2)
    found = stage_widths(network, CandidateSpec(Path("none"), name, dims, 3, 2))
    assert list(found.widths) == list(network.stages)
    assert all(width > 0 for width in found.widths.values())
    assert found.usual in network.stages


def test_a_unets_widths_are_its_channels() -> None:
    parameters = {"norm": "instance"}
    network = build("unet", spatial_dims=2, in_channels=1, classes=2, **parameters)
    found = stage_widths(network, CandidateSpec(Path("none"), "unet", 2, 1, 2, parameters))
    assert found.widths == {"encoder": 512, "decoder_1": 256, "decoder_2": 128, "decoder_3": 64}
    assert found.usual == "decoder_3"
