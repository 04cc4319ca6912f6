"""MONAI's BasicUNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.networks.nets import BasicUNet

from models_zoo.architecture import Network, Outputs, Shapes, classes_shown, register
from models_zoo.norms import GROUPS, NormChoice, norm_shown
from models_zoo.parameters import counts

HEAD = "final_conv"


def _recognise(shapes: Shapes) -> dict[str, Any]:
    first, in_channels, *kernel = shapes["conv_0.conv_0.conv.weight"]
    levels = [f"down_{level}.convs.conv_0" for level in (1, 2, 3, 4)]
    last = shapes["upcat_1.convs.conv_1.conv.weight"][0]
    return {
        "spatial_dims": len(kernel),
        "in_channels": in_channels,
        **classes_shown(shapes, HEAD),
        "features": [first, *(shapes[f"{level}.conv.weight"][0] for level in levels), last],
        "norm": norm_shown(shapes, "conv_0.conv_0.adn.N"),
    }


@register(summary="MONAI BasicUNet", outputs=Outputs.VOXEL, spatial_dims=(2, 3), recognise=_recognise)
def basic_unet(
    *,
    spatial_dims: int,
    in_channels: int,
    classes: int,
    features: Sequence[int] = (32, 32, 64, 128, 256, 32),
    norm: str = "batch",
    groups: int = GROUPS,
) -> Network:
    """`features`: the channels of the five encoder levels, then of the last decoder stage, as in MONAI.

    `norm` and `groups` as in NormChoice; MONAI's own default is "instance".
    """
    module = BasicUNet(
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=classes,
        features=counts("features", features, least=6, most=6),
        act=("LeakyReLU", {"negative_slope": 0.1, "inplace": False}),  # a hooked map stays as it was
        norm=NormChoice(norm, groups).in_monai,
    )
    return Network(
        module=module,
        last_encoder_norm="down_4.convs.conv_1.adn.N",
        stages={"encoder": "down_4", **{f"decoder_{5 - level}": f"upcat_{level}" for level in (4, 3, 2, 1)}},
        head=HEAD,
        divisor=16,
    )
