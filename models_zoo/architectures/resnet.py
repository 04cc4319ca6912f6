"""MONAI's ResNet 10, 18, 34 and 50 with BatchNorm."""

from __future__ import annotations

from typing import Any

from monai.networks.nets import ResNet

from models_zoo.architecture import Network, Outputs, Shapes, classes_shown, register
from models_zoo.parameters import count, numbered, one_of

BLOCKS = {10: [1, 1, 1, 1], 18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3]}
BOTTLENECK_FROM = 50
HEAD = "fc"


def _recognise(shapes: Shapes) -> dict[str, Any]:
    """Strides and the pooling after the stem show in no tensor."""
    width, in_channels, first_kernel, *others = shapes["conv1.weight"]
    layers = [numbered(shapes, f"layer{stage}.", first=0) for stage in (1, 2, 3, 4)]
    bottleneck = "layer1.0.conv3.weight" in shapes
    depths = [depth for depth, blocks in BLOCKS.items() if blocks == layers]
    return {
        "spatial_dims": 1 + len(others),
        "in_channels": in_channels,
        **classes_shown(shapes, HEAD),
        "depth": next((depth for depth in depths if (depth >= BOTTLENECK_FROM) == bottleneck), None),
        "width": width,
        "conv1_t_size": first_kernel,
        "shortcut_type": "B" if "layer2.0.downsample.0.weight" in shapes else "A",
        "bias_downsample": "layer2.0.downsample.0.bias" in shapes,
    }


@register(summary="MONAI ResNet 10/18/34/50", outputs=Outputs.IMAGE, spatial_dims=(2, 3), recognise=_recognise)
def resnet(
    *,
    spatial_dims: int,
    in_channels: int,
    classes: int,
    depth: int = 18,
    width: int = 64,
    conv1_t_size: int = 7,
    conv1_t_stride: int = 1,
    no_max_pool: bool = False,
    shortcut_type: str = "B",
    bias_downsample: bool = True,
) -> Network:
    """`width` is the channel count of the first stage (64 as published); the rest is named as in MONAI."""
    one_of("depth", depth, tuple(BLOCKS))
    one_of("shortcut_type", shortcut_type, ("A", "B"))
    one_of("no_max_pool", no_max_pool, (False, True))
    one_of("bias_downsample", bias_downsample, (False, True))
    bottleneck = depth >= BOTTLENECK_FROM
    module = ResNet(
        block="bottleneck" if bottleneck else "basic",
        layers=BLOCKS[depth],
        block_inplanes=[count("width", width) * factor for factor in (1, 2, 4, 8)],
        spatial_dims=spatial_dims,
        n_input_channels=in_channels,
        conv1_t_size=count("conv1_t_size", conv1_t_size),
        conv1_t_stride=count("conv1_t_stride", conv1_t_stride),
        no_max_pool=no_max_pool,
        shortcut_type=shortcut_type,
        num_classes=classes,
        bias_downsample=bias_downsample,
        act=("relu", {"inplace": False}),  # a hooked map stays as it was
        norm="batch",
    )
    last_block = f"layer4.{BLOCKS[depth][-1] - 1}"
    return Network(
        module=module,
        last_encoder_norm=f"{last_block}.bn3" if bottleneck else f"{last_block}.bn2",
        stages={"encoder": "layer4"},
        head=HEAD,
    )
