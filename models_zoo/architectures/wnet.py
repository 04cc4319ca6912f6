"""The W-Net of the published retinal checkpoints, two small U-Nets in a row, and its first U-Net alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from models_zoo.architecture import Network, Outputs, Shapes, classes_shown, register
from models_zoo.parameters import counts, numbered


def _conv_relu_norm(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel_size=3, padding=1), nn.ReLU(), nn.BatchNorm2d(outputs)]


class ResidualBlock(nn.Module):
    """Two conv-ReLU-BatchNorm plus a 1x1 shortcut: (B, inputs, H, W) -> (B, outputs, H, W).

    With `pooled`, height and width are halved first.
    """

    def __init__(self, inputs: int, outputs: int, *, pooled: bool) -> None:
        super().__init__()
        self.pool: nn.Module = nn.MaxPool2d(kernel_size=2) if pooled else nn.Identity()
        self.block = nn.Sequential(*_conv_relu_norm(inputs, outputs), *_conv_relu_norm(outputs, outputs))
        self.shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel_size=1, bias=False), nn.BatchNorm2d(outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(x)
        features: Tensor = self.block(x) + self.shortcut(x)
        return features


class Upsampling(nn.Module):
    """Transposed convolution that doubles height and width."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.ConvTranspose2d(inputs, outputs, kernel_size=2, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        doubled: Tensor = self.block(x)
        return doubled


class Bridge(nn.Module):
    """One conv-ReLU-BatchNorm on a skip connection; keeps the shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(*_conv_relu_norm(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        bridged: Tensor = self.block(x)
        return bridged


class Up(nn.Module):
    """Joins the doubled map from below with the bridged skip connection."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.up_layer = Upsampling(inputs, outputs)
        self.conv_layer = ResidualBlock(2 * outputs, outputs, pooled=False)
        self.conv_bridge_layer = Bridge(outputs)

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        joined = torch.cat((self.up_layer(below), self.conv_bridge_layer(skip)), dim=1)
        features: Tensor = self.conv_layer(joined)
        return features


class SmallUNet(nn.Module):
    """One U-Net of the two: (B, in_channels, H, W) -> logits (B, classes, H, W)."""

    def __init__(self, in_channels: int, classes: int, layers: Sequence[int]) -> None:
        super().__init__()
        steps = list(pairwise(layers))
        self.first = ResidualBlock(in_channels, layers[0], pooled=False)
        self.down_path = nn.ModuleList(ResidualBlock(above, below, pooled=True) for above, below in steps)
        self.up_path = nn.ModuleList(Up(below, above) for above, below in reversed(steps))
        self.final = nn.Conv2d(layers[0], classes, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.first(x)]
        for down in self.down_path:
            maps.append(down(maps[-1]))
        x = maps.pop()
        for up in self.up_path:
            x = up(x, maps.pop())
        logits: Tensor = self.final(x)
        return logits


class WNet(nn.Module):
    """`unet1` sees the image, `unet2` the image and the raw logits of `unet1`; gives `unet2`'s logits."""

    def __init__(self, in_channels: int, classes: int, layers: Sequence[int]) -> None:
        super().__init__()
        self.unet1 = SmallUNet(in_channels, classes, layers)
        self.unet2 = SmallUNet(in_channels + classes, classes, layers)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.unet2(torch.cat((x, self.unet1(x)), dim=1))
        return logits


class FirstUNet(nn.Module):
    """The first U-Net under its name in the W-Net's checkpoints, `unet1`."""

    def __init__(self, in_channels: int, classes: int, layers: Sequence[int]) -> None:
        super().__init__()
        self.unet1 = SmallUNet(in_channels, classes, layers)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.unet1(x)
        return logits


def _network(module: nn.Module, part: str, *, levels: int, unused: Mapping[str, str]) -> Network:
    decoder = {f"decoder_{level + 1}": f"{part}.up_path.{level}" for level in range(levels - 1)}
    last = f"{part}.down_path.{levels - 2}"
    return Network(
        module=module,
        last_encoder_norm=f"{last}.block.5",  # the main path's; the shortcut's norm is a second, parallel one
        stages={"encoder": last, **decoder},
        head=f"{part}.final",
        divisor=2 ** (levels - 1),
        unused_prefixes=unused,
    )


def _recognise(shapes: Shapes) -> dict[str, Any]:
    first, in_channels, *kernel = shapes["unet1.first.block.0.weight"]
    levels = range(numbered(shapes, "unet1.down_path.", first=0))
    return {
        "spatial_dims": len(kernel),
        "in_channels": in_channels,
        **classes_shown(shapes, "unet1.final"),
        "layers": [first, *(shapes[f"unet1.down_path.{level}.block.0.weight"][0] for level in levels)],
    }


@register(
    summary="W-Net: two small U-Nets in a row", outputs=Outputs.VOXEL, spatial_dims=(2,), recognise=_recognise
)
def wnet(*, spatial_dims: int, in_channels: int, classes: int, layers: Sequence[int] = (8, 16, 32)) -> Network:
    """`layers` are the channels of each level; build with the source's classes, then replace the head.

    The second U-Net takes the first one's logits, so only `unet2.final` depends on the target's classes.
    """
    widths = counts("layers", layers, least=2)
    return _network(WNet(in_channels, classes, widths), "unet2", levels=len(widths), unused={})


@register(
    summary="first U-Net of a W-Net checkpoint", outputs=Outputs.VOXEL, spatial_dims=(2,), recognise=_recognise
)
def wnet_first(
    *, spatial_dims: int, in_channels: int, classes: int, layers: Sequence[int] = (8, 16, 32)
) -> Network:
    """`layers` as in `wnet`, whose checkpoints this one loads."""
    widths = counts("layers", layers, least=2)
    unused = {"unet2.": "second U-Net, which only refines the first one's output"}
    return _network(FirstUNet(in_channels, classes, widths), "unet1", levels=len(widths), unused=unused)
