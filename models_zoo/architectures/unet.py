"""The U-Net of AC-Norm in 2D and 3D, with the parameter names of the published Models Genesis checkpoints."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from models_zoo.architecture import Network, Outputs, Shapes, classes_shown, register
from models_zoo.norms import GROUPS, NormChoice, norm_shown
from models_zoo.parameters import count

CONVOLUTION: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
UPSAMPLING: dict[int, type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
POOLING: dict[int, type[nn.MaxPool2d] | type[nn.MaxPool3d]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
LAST_ENCODER_NORM = "down_tr512.ops.1.bn1"
ENCODER = "down_tr512.ops"
HEAD = "out_tr.final_conv"


class ConvNormReLU(nn.Module):
    """3-wide convolution, norm, ReLU: (B, inputs, *space) -> (B, outputs, *space)."""

    def __init__(self, spatial_dims: int, inputs: int, outputs: int, *, norm: NormChoice) -> None:
        super().__init__()
        self.conv1 = CONVOLUTION[spatial_dims](inputs, outputs, kernel_size=3, padding=1)
        self.bn1 = norm.layer(spatial_dims, outputs)  # the published name, whatever the norm

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn1(self.conv1(x)))


class Down(nn.Module):
    """Two convolutions; stage `depth` ends at width * 2^(depth + 1) channels."""

    def __init__(self, spatial_dims: int, inputs: int, *, width: int, depth: int, norm: NormChoice) -> None:
        super().__init__()
        half = width * 2**depth
        self.ops = nn.Sequential(
            ConvNormReLU(spatial_dims, inputs, half, norm=norm),
            ConvNormReLU(spatial_dims, half, 2 * half, norm=norm),
        )

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.ops(x)
        return features


class Up(nn.Module):
    """Doubles the size of the map below, joins the skip connection, and convolves twice."""

    def __init__(self, spatial_dims: int, inputs: int, *, width: int, depth: int, norm: NormChoice) -> None:
        super().__init__()
        outputs = width * 2 ** (depth + 1)
        self.up_conv = UPSAMPLING[spatial_dims](inputs, inputs, kernel_size=2, stride=2)
        self.ops = nn.Sequential(
            ConvNormReLU(spatial_dims, inputs + outputs, outputs, norm=norm),
            ConvNormReLU(spatial_dims, outputs, outputs, norm=norm),
        )

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        joined = torch.cat((self.up_conv(below), skip), dim=1)
        features: Tensor = self.ops(joined)
        return features


class Output(nn.Module):
    """The 1-wide convolution that gives one channel of raw logits per class."""

    def __init__(self, spatial_dims: int, inputs: int, classes: int) -> None:
        super().__init__()
        self.final_conv = CONVOLUTION[spatial_dims](inputs, classes, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.final_conv(x)
        return logits


class Encoder(nn.Module):
    """Four stages with pooling between them; the names say the channels at width 32."""

    def __init__(self, spatial_dims: int, in_channels: int, *, width: int, norm: NormChoice) -> None:
        super().__init__()
        self.down_tr64 = Down(spatial_dims, in_channels, width=width, depth=0, norm=norm)
        self.down_tr128 = Down(spatial_dims, 2 * width, width=width, depth=1, norm=norm)
        self.down_tr256 = Down(spatial_dims, 4 * width, width=width, depth=2, norm=norm)
        self.down_tr512 = Down(spatial_dims, 8 * width, width=width, depth=3, norm=norm)
        self.pool = POOLING[spatial_dims](kernel_size=2)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The maps of the four stages, from full size to an eighth: (B, 2^(d+1) * width, *space / 2^d)."""
        first = self.down_tr64(x)
        second = self.down_tr128(self.pool(first))
        third = self.down_tr256(self.pool(second))
        return first, second, third, self.down_tr512(self.pool(third))


class UNet(Encoder):
    """Encoder, three decoder stages and the output head: (B, in_channels, *space) -> (B, classes, *space)."""

    def __init__(self, spatial_dims: int, in_channels: int, *, classes: int, width: int, norm: NormChoice) -> None:
        super().__init__(spatial_dims, in_channels, width=width, norm=norm)
        self.up_tr256 = Up(spatial_dims, 16 * width, width=width, depth=2, norm=norm)
        self.up_tr128 = Up(spatial_dims, 8 * width, width=width, depth=1, norm=norm)
        self.up_tr64 = Up(spatial_dims, 4 * width, width=width, depth=0, norm=norm)
        self.out_tr = Output(spatial_dims, 2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        first, second, third, bottleneck = self.encode(x)
        x = self.up_tr256(bottleneck, third)
        x = self.up_tr128(x, second)
        x = self.up_tr64(x, first)
        logits: Tensor = self.out_tr(x)
        return logits


def recognise_encoder(shapes: Shapes) -> dict[str, Any]:
    """What the tensors of the encoder show; it is the same in `unet` and `unet_classifier`."""
    width, in_channels, *kernel = shapes["down_tr64.ops.0.conv1.weight"]
    norm = norm_shown(shapes, "down_tr64.ops.0.bn1")
    return {"spatial_dims": len(kernel), "in_channels": in_channels, "width": width, "norm": norm}


def _recognise(shapes: Shapes) -> dict[str, Any]:
    return {**recognise_encoder(shapes), **classes_shown(shapes, HEAD)}


@register(
    summary="U-Net of AC-Norm and Models Genesis",
    outputs=Outputs.VOXEL,
    spatial_dims=(2, 3),
    recognise=_recognise,
)
def unet(
    *,
    spatial_dims: int,
    in_channels: int,
    classes: int,
    width: int = 32,
    norm: str = "batch",
    groups: int = GROUPS,
) -> Network:
    """`width` is the channel count of the first convolution (published: 32); `norm`, `groups` as in NormChoice.

    Differs from the published Models Genesis code in two ways that no tensor shows: the output is raw logits,
    not a sigmoid, and BatchNorm uses its running statistics in evaluation, where that code never does.
    """
    return Network(
        module=UNet(
            spatial_dims,
            in_channels,
            classes=classes,
            width=count("width", width),
            norm=NormChoice(norm, groups),
        ),
        last_encoder_norm=LAST_ENCODER_NORM,
        stages={
            "encoder": ENCODER,
            "decoder_1": "up_tr256",
            "decoder_2": "up_tr128",
            "decoder_3": "up_tr64",
        },
        head=HEAD,
        divisor=8,
    )
