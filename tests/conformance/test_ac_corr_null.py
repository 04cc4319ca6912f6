"""AC-Corr against its null: p and z by hand, flags, and what makes it inapplicable."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.conformance.evidences import MEASURES, drifted, evidence, null, score
from worker.science.evidence.parts import Affines, NullEpochs
from worker.science.measures.ac_corr import layer_correlation
from worker.science.measures.ac_corr_null import Calibration
from worker.science.measures.registry import DEGENERATE, NOT_APPLICABLE

NAME = "ac_corr_null"


@pytest.mark.parametrize(
    ("observed", "values", "p", "below", "z"),
    [
        (7.0, (1.0, 2.0, 3.0), 1 / 4, 4 / 4, 5.0),  # mean 2, deviation 1
        (2.0, (1.0, 2.0, 3.0), 3 / 4, 3 / 4, 0.0),  # one that ties counts as at or above
        (0.0, (1.0, 2.0, 3.0), 4 / 4, 1 / 4, -2.0),
        (9.0, (2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0), 2 / 9, 9 / 9, 4 / (32 / 7) ** 0.5),  # mean 5, squares 32
        (6.0, (4.0, 6.0), 2 / 3, 3 / 3, 0.5 * 2**0.5),
    ],
)
def test_p_and_z_by_hand(observed: float, values: tuple[float, ...], p: float, below: float, z: float) -> None:
    found = Calibration(observed, values)
    assert (found.p, found.p_below) == (pytest.approx(p), pytest.approx(below))
    assert found.z == pytest.approx(z)


@pytest.mark.parametrize("values", [(3.0, 3.0, 3.0), (3.0, 3.0 + 4e-16, 3.0 - 4e-16)])
def test_equal_values_give_no_z(values: tuple[float, ...]) -> None:
    assert Calibration(5.0, values).z is None


def test_the_score_is_that_of_the_last_encoder_norm() -> None:
    seen = evidence()
    assert seen.affines is not None
    assert seen.null is not None
    own = layer_correlation(seen.affines["encoder.1"]).ac_corr
    nulls = tuple(layer_correlation(layers["encoder.1"]).ac_corr for layers in seen.null.affines)
    found = score(NAME, seen)
    expected = Calibration(own, nulls)
    assert found.value == expected.z
    record = found.record
    assert (record["p"], record["p_below"]) == (expected.p, expected.p_below)
    assert (record["permutations"], record["layer"]) == (19, "encoder.1")
    assert (record["observed"], tuple(record["null"])) == (own, nulls)
    assert (record["null_mean"], record["null_deviation"]) == (expected.mean, expected.deviation)
    assert record["source"]["channels"] == 16


def test_z_is_the_same_for_every_form_of_ac_corr() -> None:
    """Per channel and above zero drift are the raw sum, shifted and scaled by what the source alone decides."""
    seen = evidence()
    assert seen.affines is not None
    assert seen.null is not None
    own = layer_correlation(seen.affines["encoder.1"])
    nulls = [layer_correlation(layers["encoder.1"]) for layers in seen.null.affines]
    for form in ("ac_corr_per_channel", "ac_corr_excess"):
        other = Calibration(getattr(own, form), tuple(getattr(one, form) for one in nulls))
        assert other.z == pytest.approx(score(NAME, seen).value)


def test_what_is_wrong_with_ac_corr_is_wrong_with_its_z() -> None:
    moved = {"encoder.1": drifted(16, drift=1.0)}
    assert score(NAME, evidence(affines=moved)).flags == score("ac_corr", evidence(affines=moved)).flags
    assert score(NAME, evidence(affines=moved)).flags == ("low_spread",)
    tied = Affines(torch.ones(8), torch.zeros(8), torch.ones(8), torch.arange(8.0))
    repeated = NullEpochs(tuple({"encoder.1": replace(tied, target_bias=torch.rand(8))} for _ in range(19)), 1.0)
    found = score(NAME, evidence(affines={"encoder.1": tied}, null=repeated))
    assert found.value is None
    assert found.flags.count(DEGENERATE.name) == 1
    assert "no scale" in str(found.reason)
    assert len(found.record["null"]) == 19


def test_equal_null_values_are_degenerate_though_the_source_is_sound() -> None:
    still = NullEpochs(({"encoder.1": drifted(16, 0.01)},) * 19, seconds=1.0)
    found = score(NAME, evidence(null=still))
    assert (found.value, found.flags) == (None, (*score("ac_corr", evidence()).flags, DEGENERATE.name))


@pytest.mark.parametrize(("count", "few"), [(2, True), (18, True), (19, False), (99, False)])
def test_few_permutations_are_flagged(count: int, few: bool) -> None:
    assert ("few_permutations" in score(NAME, evidence(null=null(count))).flags) == few


def test_it_is_not_applicable_without_a_last_norm_or_a_second_permutation() -> None:
    for missing in ({"last_encoder_norm": None}, {"last_encoder_norm": "encoder.9"}, {"null": null(1)}):
        found = score(NAME, evidence(**missing))
        assert (found.value, found.flags) == (None, (NOT_APPLICABLE.name,))
        assert found.reason


def test_an_epoch_that_failed_is_the_reason() -> None:
    found = score(NAME, evidence(null=NullEpochs(null(3).affines, 1.0, "the loss is nan")))
    assert (found.value, found.flags, found.reason) == (None, ("failed",), "the loss is nan")


def test_only_measures_of_many_epochs_are_optional() -> None:
    optional = {name for name, measure in MEASURES.items() if measure.optional}
    assert optional == {NAME}
    assert {name for name, measure in MEASURES.items() if measure.epochs_per_permutation} == optional
    epochs = {name: MEASURES[name].epochs for name in ("logme", "leep", "ac_corr", "one_epoch_outcome", NAME)}
    assert epochs == {"logme": 0, "leep": 0, "ac_corr": 1, "one_epoch_outcome": 1, NAME: 1}
