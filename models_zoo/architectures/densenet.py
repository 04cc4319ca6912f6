"""MONAI's DenseNet with BatchNorm; the defaults are DenseNet-121."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.networks.nets import DenseNet

from models_zoo.architecture import Network, Outputs, Shapes, classes_shown, register
from models_zoo.parameters import count, counts, numbered

HEAD = "class_layers.out"


def _recognise(shapes: Shapes) -> dict[str, Any]:
    first, in_channels, *kernel = shapes["features.conv0.weight"]
    blocks = numbered(shapes, "features.denseblock", first=1)
    return {
        "spatial_dims": len(kernel),
        "in_channels": in_channels,
        **classes_shown(shapes, HEAD),
        "init_features": first,
        "growth_rate": shapes["features.denseblock1.denselayer1.layers.conv2.weight"][0],
        "block_config": [
            numbered(shapes, f"features.denseblock{block}.denselayer", first=1) for block in range(1, blocks + 1)
        ],
    }


@register(
    summary="MONAI DenseNet, 121 by default",
    outputs=Outputs.IMAGE,
    spatial_dims=(2, 3),
    recognise=_recognise,
)
def densenet(
    *,
    spatial_dims: int,
    in_channels: int,
    classes: int,
    init_features: int = 64,
    growth_rate: int = 32,
    block_config: Sequence[int] = (6, 12, 24, 16),
) -> Network:
    """`block_config`: layers in each dense block; the encoder's output is the map before the last ReLU."""
    blocks = counts("block_config", block_config, least=2)
    module = DenseNet(
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=classes,
        init_features=count("init_features", init_features),
        growth_rate=count("growth_rate", growth_rate),
        block_config=blocks,
        act=("relu", {"inplace": False}),  # a hooked map stays as it was
        norm="batch",
    )
    return Network(
        module=module,
        last_encoder_norm="features.norm5",
        stages={"encoder": "features"},
        head=HEAD,
        divisor=2 ** (len(blocks) + 1),  # halved twice at the stem and once between blocks: 1 px must remain
    )
