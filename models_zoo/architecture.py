"""What an architecture is, and how one file adds one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from torch import nn

from models_zoo.errors import ZooError
from models_zoo.machine import is_out_of_memory
from models_zoo.parameters import count
from models_zoo.registry import Registry

Shapes = Mapping[str, tuple[int, ...]]  # of the tensors in a file, by name
Recognise = Callable[[Shapes], dict[str, Any]]


class Outputs(StrEnum):
    """What a network gives a row of outputs for: each image, or each voxel."""

    IMAGE = "image"
    VOXEL = "voxel"


@dataclass(frozen=True)
class Network:
    """A built network and where its parts are; every place is a dotted module path inside `module`.

    `stages` maps a stage's name to the module whose OUTPUT is that stage's feature map, (B, C, [D,] H, W),
    in order from input to output: "encoder" always, then "decoder_1" .. "decoder_n" where there is a decoder.
    """

    module: nn.Module
    last_encoder_norm: str | None
    stages: Mapping[str, str]
    head: str
    divisor: int = 1  # every spatial size must be a multiple of this
    unused_prefixes: Mapping[str, str] = field(default_factory=dict)  # key prefix left out on purpose -> why


@dataclass(frozen=True)
class Architecture:
    """A registered function: `build(spatial_dims=, in_channels=, classes=, **parameters) -> Network`.

    `recognise(shapes)` gives those of `build`'s arguments that the shapes of a file's tensors show. It raises
    LookupError or ValueError for a file of another architecture. A file without its head shows everything but
    `classes`. What it gives is a proposal that building with it confirms.
    """

    name: str
    summary: str
    outputs: Outputs
    spatial_dims: tuple[int, ...]
    build: Callable[..., Network]
    recognise: Recognise

    @property
    def parameters(self) -> dict[str, Any]:
        """Names and defaults of what `build` takes beyond spatial_dims, in_channels and classes."""
        common = {"spatial_dims", "in_channels", "classes"}
        signature = inspect.signature(self.build).parameters
        return {name: p.default for name, p in signature.items() if name not in common}


def classes_shown(shapes: Shapes, head: str) -> dict[str, Any]:
    """`classes` as the weight of the head at this path shows it; nothing where the file has no such weight."""
    weight = shapes.get(f"{head}.weight")
    return {} if weight is None else {"classes": weight[0]}


def _unknown(shapes: Shapes) -> dict[str, Any]:
    raise LookupError("this architecture declares no way to recognise its files")


_REGISTERED: Registry[Architecture] = Registry("architecture", "models_zoo.architectures")


def register(
    *, summary: str, outputs: Outputs, spatial_dims: tuple[int, ...], recognise: Recognise = _unknown
) -> Callable[[Callable[..., Network]], Callable[..., Network]]:
    """Make the decorated build function the architecture of its own name."""

    def add(build: Callable[..., Network]) -> Callable[..., Network]:
        name = build.__name__
        _REGISTERED.add(name, Architecture(name, summary, outputs, spatial_dims, build, recognise))
        return build

    return add


def architectures() -> dict[str, Architecture]:
    """Every registered architecture by name (scans `models_zoo.architectures`)."""
    return _REGISTERED.all()


def build(name: str, *, spatial_dims: int, in_channels: int, classes: int, **parameters: Any) -> Network:
    """Build architecture `name`; ZooError names an unknown architecture, parameter, or unfit dimension."""
    registered = architectures()
    if name not in registered:
        raise ZooError(f"architecture: {name!r} is not known; use one of {', '.join(sorted(registered))}")
    architecture = registered[name]
    unknown = set(parameters) - set(architecture.parameters)
    if unknown:
        raise ZooError(
            f"parameters: {name} has no {', '.join(sorted(unknown))}; it takes "
            f"{', '.join(architecture.parameters) or 'none'}"
        )
    if spatial_dims not in architecture.spatial_dims:
        raise ZooError(f"spatial_dims: {name} is built for {architecture.spatial_dims}, not {spatial_dims}")
    try:
        count("in_channels", in_channels)
        count("classes", classes)
        return architecture.build(
            spatial_dims=spatial_dims, in_channels=in_channels, classes=classes, **parameters
        )
    except (TypeError, ValueError, KeyError, RuntimeError, OverflowError) as error:
        if is_out_of_memory(error):
            raise
        why = str(error).partition("\n")[0]  # torch goes on with a trace of its own
        raise ZooError(f"parameters: {name} can't be built with {parameters}: {why}; correct them") from error
