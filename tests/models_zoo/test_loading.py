"""Putting state dicts into networks: the report, the limits and the head."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models_zoo.architecture import Network, build
from models_zoo.errors import ZooError
from models_zoo.loading.load import CheckpointError, load, norm_census, replace_head, submodule

SMALL: dict[str, dict[str, Any]] = {
    "unet": {"width": 2},
    "unet_classifier": {"width": 2},
    "wnet": {"layers": [2, 4, 8]},
    "wnet_first": {"layers": [2, 4, 8]},
}


def small(name: str, *, classes: int = 3, in_channels: int = 3) -> Network:
    return build(name, spatial_dims=2, in_channels=in_channels, classes=classes, **SMALL[name])


def state_of(network: Network) -> dict[str, Tensor]:
    return {key: tensor.clone() for key, tensor in network.module.state_dict().items()}


def reasons(left: Any) -> dict[str, str]:
    return {item.key: item.reason for item in left}


def test_the_first_unet_lists_the_second_as_left_out_on_purpose() -> None:
    whole, first = small("wnet"), small("wnet_first")
    report = load(first, state_of(whole))
    assert report.percent_loaded == 100
    assert report.loaded == report.tensors
    assert report.reinitialised == ()
    assert report.unused
    assert all(left.key.startswith("unet2.") for left in report.unused)
    assert all(left.reason.startswith("left out on purpose: second U-Net") for left in report.unused)
    image = torch.rand(1, 3, 8, 8)
    unet1 = submodule(whole, "unet1").eval()
    assert torch.equal(first.module.eval()(image), unet1(image))


def test_the_classifier_takes_the_encoder_and_leaves_the_decoder() -> None:
    source, target = small("unet", classes=1), small("unet_classifier", classes=5)
    report = load(target, state_of(source))
    assert report.percent_loaded == 100
    assert reasons(report.reinitialised) == {"fc.weight": "not in the file", "fc.bias": "not in the file"}
    assert report.reinitialised_modules() == ("fc",)
    assert {left.key.split(".")[0] for left in report.unused} == {"up_tr256", "up_tr128", "up_tr64", "out_tr"}
    assert all("decoder of the source U-Net" in left.reason for left in report.unused)
    assert torch.equal(
        target.module.state_dict()["down_tr512.ops.1.bn1.weight"],
        source.module.state_dict()["down_tr512.ops.1.bn1.weight"],
    )


def test_a_head_of_other_classes_stays_fresh_and_says_both_shapes() -> None:
    source, target = small("unet", classes=2), small("unet", classes=7)
    fresh = state_of(target)
    report = load(target, state_of(source))
    reason = "shape differs: (2, 4, 1, 1) in the file, (7, 4, 1, 1) in the network"
    assert reasons(report.reinitialised)["out_tr.final_conv.weight"] == reason
    assert reasons(report.unused)["out_tr.final_conv.weight"] == reason
    assert report.percent_loaded == 100
    assert report.reinitialised_modules() == ("out_tr.final_conv",)
    head = target.module.state_dict()["out_tr.final_conv.weight"]
    assert torch.equal(head, fresh["out_tr.final_conv.weight"])


def test_missing_norms_are_counted_by_their_numbers_and_located() -> None:
    state = state_of(small("unet"))
    body = sum(state[key].numel() for key in state if key.split(".")[-1] != "num_batches_tracked")
    body -= 3 * 4 + 3  # the head's weight and bias
    del state["down_tr512.ops.1.bn1.weight"], state["down_tr512.ops.1.bn1.running_var"]  # 32 numbers each
    state["extra.weight"] = torch.ones(1)
    with pytest.raises(CheckpointError, match=r"^uri: 2 tensors .* outside its head are missing"):
        load(small("unet"), state)
    report = load(small("unet"), state, allow_partial=True)
    assert report.loaded == report.tensors - 2
    assert report.percent_loaded == pytest.approx(100 * (body - 64) / body)
    assert report.reinitialised_modules() == ("down_tr512.ops.1.bn1",)
    assert reasons(report.unused) == {"extra.weight": "not part of the architecture"}
    assert report.last_encoder_norm == "down_tr512.ops.1.bn1"


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (["running_mean"], "1 tensor of the network outside its head is missing"),
        (["running_mean", "running_var"], "2 tensors of the network outside its head are missing"),
    ],
)
def test_a_network_with_anything_missing_is_never_told_as_loaded_whole(missing: list[str], words: str) -> None:
    wide = {"spatial_dims": 2, "in_channels": 3, "classes": 3, "width": 16}
    state = state_of(build("unet", **wide))
    for name in missing:
        del state[f"down_tr64.ops.0.bn1.{name}"]  # 16 of 1.7 million numbers
    with pytest.raises(CheckpointError, match=rf"^uri: {words} from the file .* that 99\.9 % of its numbers"):
        load(build("unet", **wide), state)


def test_the_step_counters_are_loaded_but_not_counted() -> None:
    state = state_of(small("unet"))
    counters = [key for key in state if key.endswith("num_batches_tracked")]
    assert len(counters) == 14
    state[counters[0]] += 41
    target = small("unet")
    report = load(target, state)
    assert report.tensors == report.loaded == len(state) - len(counters)
    assert int(target.module.state_dict()[counters[0]]) == 41
    without = load(small("unet"), {key: state[key] for key in state if key not in counters})
    assert without == report


def test_another_networks_state_is_refused_and_nothing_is_copied() -> None:
    target = small("unet")
    before = state_of(target)
    shared = {key: torch.full_like(before[key], 9.0) for key in list(before)[:5]}
    with pytest.raises(CheckpointError, match=r"^uri: \d+ tensors .*: down_tr64\.ops\.0\.bn1\.running_var"):
        load(target, {**state_of(small("wnet_first")), **shared})
    with pytest.raises(CheckpointError, match=r"another network.*unet1\.first.*down_tr64\.ops"):
        load(target, state_of(small("wnet_first")), allow_partial=True)
    assert all(torch.equal(tensor, before[key]) for key, tensor in target.module.state_dict().items())


def test_integer_weights_are_not_taken_for_real_ones() -> None:
    state = state_of(small("unet"))
    state["down_tr64.ops.0.conv1.bias"] = torch.ones(2, dtype=torch.int8)
    report = load(small("unet"), state, allow_partial=True)
    assert reasons(report.reinitialised) == {
        "down_tr64.ops.0.conv1.bias": "type differs: torch.int8 in the file, torch.float32 in the network"
    }


def test_the_report_survives_json() -> None:
    report = asdict(load(small("wnet_first"), state_of(small("wnet"))))
    assert json.loads(json.dumps(report))["norms"] == [
        {"type": "BatchNorm2d", "layers": 17, "channels": 66, "affine": 17, "running_statistics": 17}
    ]


def test_the_census_tells_types_and_what_they_keep_apart() -> None:
    module = nn.Sequential(
        nn.BatchNorm1d(3, affine=False),
        nn.Sequential(nn.BatchNorm3d(4), nn.BatchNorm3d(5, track_running_stats=False)),
        nn.InstanceNorm2d(6),
        nn.GroupNorm(2, 8),
        nn.LayerNorm((2, 5)),
        nn.RMSNorm(3),
        nn.LayerNorm(4, bias=False),
        nn.Conv1d(1, 1, 1),
    )
    counted = {c.type: (c.layers, c.channels, c.affine, c.running_statistics) for c in norm_census(module)}
    assert counted == {
        "BatchNorm1d": (1, 3, 0, 1),
        "BatchNorm3d": (2, 9, 2, 1),
        "InstanceNorm2d": (1, 6, 0, 0),
        "GroupNorm": (1, 8, 1, 0),
        "LayerNorm": (2, 14, 1, 0),
        "RMSNorm": (1, 3, 0, 0),
    }


def test_a_fresh_head_depends_on_the_seed_alone_and_leaves_the_random_state() -> None:
    first, second, other = (small("unet") for _ in range(3))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    replace_head(first, 4, seed=7)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    replace_head(second, 4, seed=7)
    replace_head(other, 4, seed=8)
    heads = [submodule(n, n.head).get_parameter("weight") for n in (first, second, other)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_only_the_second_unets_head_follows_the_target() -> None:
    network = small("wnet", classes=3)
    replace_head(network, 2, seed=0)
    shapes = {key: tuple(t.shape) for key, t in network.module.state_dict().items() if "final.weight" in key}
    assert shapes == {"unet1.final.weight": (3, 2, 1, 1), "unet2.final.weight": (2, 2, 1, 1)}


def test_a_head_that_cannot_be_replaced_is_named() -> None:
    network = small("unet")
    with pytest.raises(ZooError, match=r"^classes: .* not 0"):
        replace_head(network, 0, seed=0)
    with pytest.raises(ZooError, match=r"^head: pool is a MaxPool2d"):
        replace_head(replace(network, head="pool"), 2, seed=0)
    with pytest.raises(ZooError, match=r"no module 'nowhere\.at\.all'"):
        submodule(network, "nowhere.at.all")
