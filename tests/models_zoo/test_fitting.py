"""A file belongs to one network: a half-loaded one is refused, with the setting that the file fits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from models_zoo.architecture import build
from models_zoo.loading.fitting import build_and_load
from models_zoo.loading.load import CheckpointError

SETTINGS: dict[str, Any] = {"spatial_dims": 2, "in_channels": 3, "classes": 2}
SMALL: dict[str, Any] = {"features": [2, 2, 4, 4, 8, 2]}


def state(name: str, **parameters: Any) -> dict[str, Tensor]:
    module = build(name, **{**SETTINGS, **parameters}).module
    return {key: tensor.clone() for key, tensor in module.state_dict().items()}


def loaded(name: str, file: dict[str, Tensor], **parameters: Any) -> float:
    allow = bool(parameters.pop("allow_partial", False))
    return build_and_load(name, {**SETTINGS, **parameters}, file, allow_partial=allow)[1].percent_loaded


# architecture, what the file was saved with, what it is registered with, what the reason must propose
MISTAKES: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "instance norm as batch": (
        "basic_unet",
        {**SMALL, "norm": "instance"},
        SMALL,
        r'fits norm = "instance" \(or ',
    ),
    "batch norm as instance": ("basic_unet", SMALL, {**SMALL, "norm": "instance"}, r'fits norm = "batch"\.'),
    "other widths": ("basic_unet", SMALL, {}, r"fits features = \[2, 2, 4, 4, 8, 2\]\."),
    "a narrow U-Net": ("unet", {"width": 4}, {}, r"fits width = 4\."),
    "its classifier": ("unet_classifier", {"width": 4, "norm": "group", "groups": 2}, {"width": 4}, r"norm = "),
    "a wide W-Net": ("wnet", {"layers": [2, 4, 8]}, {}, r"fits layers = \[2, 4, 8\]\."),
    "a W-Net of three classes": ("wnet", {"classes": 3}, {}, r"fits classes = 3\."),
    "a wide first U-Net": ("wnet_first", {"layers": [2, 4, 8]}, {}, r"fits layers = \[2, 4, 8\]\."),
    "a deeper ResNet": ("resnet", {"depth": 18, "width": 2}, {"depth": 10, "width": 2}, r"fits depth = 18\."),
    "a shallower ResNet": ("resnet", {"depth": 10, "width": 2}, {"width": 2}, r"fits depth = 10\."),
    "a short DenseNet": (
        "densenet",
        {"init_features": 4, "growth_rate": 2, "block_config": [1, 2]},
        {"init_features": 4, "growth_rate": 2, "block_config": [1, 2, 1]},
        r"fits block_config = \[1, 2\]\.",
    ),
}


@pytest.mark.parametrize("headless", [False, True], ids=["whole", "without its head"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_file_registered_with_another_setting_is_refused_with_the_fitting_one(
    mistake: str, headless: bool
) -> None:
    name, saved, registered, proposal = MISTAKES[mistake]
    file = state(name, **saved)
    if headless:
        head = build(name, **{**SETTINGS, **saved}).head
        file = {key: tensor for key, tensor in file.items() if not key.startswith(f"{head}.")}
    with pytest.raises(CheckpointError, match=rf"^uri: \d+ tensors .*{proposal}.* allow_partial"):
        loaded(name, file, **registered)
    assert loaded(name, file, **saved) == 100


def test_only_what_the_file_does_not_fit_is_proposed() -> None:
    """GroupNorm has the tensors of InstanceNorm, and the head is apart: neither is reason for a change."""
    file = state("basic_unet", **SMALL, norm="group", groups=2)
    with pytest.raises(CheckpointError, match=r"The file fits features = \[2, 2, 4, 4, 8, 2\]\. Register"):
        loaded("basic_unet", file, norm="group", groups=2, classes=5)


def test_without_its_convolutions_no_file_is_a_network() -> None:
    """By count of tensors such a file is most of a network."""
    file = {key: tensor for key, tensor in state("basic_unet", **SMALL).items() if tensor.ndim == 1}
    for allow_partial in (False, True):
        with pytest.raises(CheckpointError, match=r"^uri: this is the state dict of another network"):
            loaded("basic_unet", file, **SMALL, allow_partial=allow_partial)


def test_an_encoder_alone_is_taken_only_where_that_is_allowed() -> None:
    file = {key: tensor for key, tensor in state("basic_unet", **SMALL).items() if not key.startswith("upcat")}
    with pytest.raises(CheckpointError, match=r"upcat_4\.upsample.* \(not in the file\); .* and \d+ more"):
        loaded("basic_unet", file, **SMALL)
    assert 0 < loaded("basic_unet", file, **SMALL, allow_partial=True) < 100


def test_tensors_that_no_setting_uses_are_left_over_and_no_reason() -> None:
    file = {**state("basic_unet", **SMALL), "projector.weight": torch.ones(2, 2)}
    assert loaded("basic_unet", file, **SMALL) == 100


def test_a_head_of_other_classes_is_no_reason() -> None:
    assert loaded("basic_unet", state("basic_unet", **SMALL), **SMALL, classes=7) == 100
