"""Facts of single architectures that published checkpoints and callers rely on."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from models_zoo.architecture import architectures, build
from models_zoo.errors import ZooError
from models_zoo.loading.load import submodule

# Models Genesis (3D, width 32): a few names and shapes of every kind of layer in its published state dict
GENESIS = {
    "down_tr64.ops.0.conv1.weight": (32, 1, 3, 3, 3),
    "down_tr64.ops.1.bn1.weight": (64,),
    "down_tr512.ops.0.conv1.weight": (256, 256, 3, 3, 3),
    "down_tr512.ops.1.conv1.weight": (512, 256, 3, 3, 3),
    "down_tr512.ops.1.bn1.running_var": (512,),
    "up_tr256.up_conv.weight": (512, 512, 2, 2, 2),
    "up_tr256.ops.0.conv1.weight": (256, 768, 3, 3, 3),
    "up_tr128.ops.1.bn1.bias": (128,),
    "up_tr64.ops.0.conv1.weight": (64, 192, 3, 3, 3),
    "out_tr.final_conv.weight": (1, 64, 1, 1, 1),
}


def test_the_unet_has_the_names_and_shapes_of_models_genesis() -> None:
    with torch.device("meta"):
        state = build("unet", spatial_dims=3, in_channels=1, classes=1).module.state_dict()
    assert {key: tuple(state[key].shape) for key in GENESIS} == GENESIS
    assert {key.split(".")[0] for key in state} == {key.split(".")[0] for key in GENESIS} | {
        "down_tr128",
        "down_tr256",
    }


@pytest.mark.parametrize(
    ("depth", "norm", "channels"),
    [(10, "0.bn2", 512), (18, "1.bn2", 512), (34, "2.bn2", 512), (50, "2.bn3", 2048)],
)
def test_the_last_norm_of_every_resnet(depth: int, norm: str, channels: int) -> None:
    with torch.device("meta"):
        network = build("resnet", spatial_dims=2, in_channels=1, classes=2, depth=depth)
    paths = [p for p, m in network.module.named_modules() if isinstance(m, _BatchNorm) and "downsample" not in p]
    assert network.last_encoder_norm == f"layer4.{norm}" == paths[-1]
    assert submodule(network, paths[-1]).num_features == channels


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("densenet", {"block_config": (1, 1)}),
        ("densenet", {"block_config": (1, 1, 1, 1)}),
        ("wnet_first", {"layers": (2, 2)}),
        ("wnet_first", {"layers": (2, 2, 2, 2, 2)}),
    ],
)
def test_the_divisor_follows_the_depth_and_is_the_least_size(name: str, parameters: dict[str, object]) -> None:
    network = build(name, spatial_dims=2, in_channels=1, classes=2, **parameters)
    module = network.module.eval()
    assert module(torch.rand(1, 1, network.divisor, 2 * network.divisor)).shape[:2] == (1, 2)
    with pytest.raises(RuntimeError):
        module(torch.rand(1, 1, network.divisor // 2, network.divisor // 2))


def test_the_second_unet_sees_the_image_and_the_firsts_raw_logits() -> None:
    network = build("wnet", spatial_dims=2, in_channels=3, classes=2, layers=(2, 4))
    seen: list[torch.Tensor] = []
    submodule(network, "unet2").register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.rand(1, 3, 4, 4)
    network.module.eval()(x)
    assert torch.equal(seen[0], torch.cat((x, submodule(network, "unet1")(x)), dim=1))


def test_lists_as_json_gives_them_build_the_same_network() -> None:
    shapes = [
        {
            key: t.shape
            for key, t in build("wnet", spatial_dims=2, in_channels=1, classes=1, layers=layers)
            .module.state_dict()
            .items()
        }
        for layers in ([2, 4, 8], (2, 4, 8))
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("unet", {"width": 0}, "width must be a whole number of at least 1, not 0"),
        ("unet", {"width": True}, "width must be a whole number"),
        ("wnet", {"layers": [8]}, "layers must hold at least 2 whole numbers, not 1"),
        ("wnet", {"layers": [8, 1.5]}, r"layers\[1\] must be a whole number"),
        ("basic_unet", {"features": [8] * 5}, "features must hold 6 whole numbers, not 5"),
        ("resnet", {"depth": 19}, "depth must be one of 10, 18, 34, 50, not 19"),
        ("unet", {"wide": 3}, "unet has no wide; it takes width"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_would_do(
    name: str, parameters: dict[str, object], words: str
) -> None:
    with pytest.raises(ZooError, match=words):
        build(name, spatial_dims=2, in_channels=1, classes=2, **parameters)


@pytest.mark.parametrize("name", ["unet", "unet_classifier", "basic_unet"])
@pytest.mark.parametrize("norm", ["group", "instance"])
def test_another_norm_changes_no_key_but_the_running_statistics(name: str, norm: str) -> None:
    def shapes(**parameters: object) -> dict[str, tuple[int, ...]]:
        with torch.device("meta"):
            built = build(name, spatial_dims=2, in_channels=1, classes=2, **parameters)
        return {key: tuple(tensor.shape) for key, tensor in built.module.state_dict().items()}

    default = shapes()
    statistics = {key for key in default if "running_" in key or "num_batches" in key}
    assert statistics
    assert shapes(norm=norm) == {key: shape for key, shape in default.items() if key not in statistics}


def test_groups_reach_every_norm_and_must_divide_the_channels() -> None:
    network = build("unet", spatial_dims=2, in_channels=1, classes=2, width=4, norm="group", groups=4)
    groups = {layer.num_groups for layer in network.module.modules() if isinstance(layer, nn.GroupNorm)}
    assert groups == {4}
    with pytest.raises(ZooError, match="num_channels"):
        build("unet", spatial_dims=2, in_channels=1, classes=2, width=4, norm="group", groups=3)
    with pytest.raises(ZooError, match="norm must be one of batch, group, instance, not 'layer'"):
        build("unet", spatial_dims=2, in_channels=1, classes=2, norm="layer")


def test_an_unknown_architecture_or_dimension_is_named() -> None:
    with pytest.raises(ZooError, match=r"'vnet' is not known; use one of .*unet"):
        build("vnet", spatial_dims=2, in_channels=1, classes=2)
    with pytest.raises(ZooError, match=r"spatial_dims: wnet is built for \(2,\), not 3"):
        build("wnet", spatial_dims=3, in_channels=1, classes=2)


def test_every_architecture_of_the_room_is_registered() -> None:
    expected = {"unet", "unet_classifier", "basic_unet", "resnet", "densenet", "wnet", "wnet_first"}
    assert expected <= set(architectures())
