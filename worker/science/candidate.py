"""A candidate, built and loaded for a target: its own head first, a fresh one before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from models_zoo import architecture as registry
from models_zoo.architecture import Network
from models_zoo.card import Normalisation
from models_zoo.loading.load import LoadReport, load, read_state_dict, replace_head
from models_zoo.machine import memory
from worker.science.data.loader import TargetLoader
from worker.science.data.target import Target
from worker.science.errors import ScienceError
from worker.science.specs import CandidateSpec, Protocol

HEADS = ("softmax", "sigmoid", "none")


@dataclass(frozen=True)
class Candidate:
    """A loaded network on its device, what was loaded into it, and its batches."""

    network: Network
    report: LoadReport
    loader: TargetLoader
    source_classes: int  # outputs of the source's own head
    head: str  # what they are, as in `CandidateSpec`


def load_source(spec: CandidateSpec) -> tuple[Network, LoadReport]:
    """The source network with its weights, head included."""
    with torch.device("meta"):
        size = sum(tensor.nbytes for tensor in _built(spec).module.state_dict().values())
    if size > memory():
        raise ScienceError(
            f"parameters: this network takes {size / 2**30:.0f} GiB, the machine has {memory() / 2**30:.0f}; "
            "register the checkpoint with the sizes it was trained with"
        )
    network = _built(spec)
    return network, load(network, read_state_dict(spec.path))


def _built(spec: CandidateSpec) -> Network:
    return registry.build(
        spec.architecture,
        spatial_dims=spec.spatial_dims,
        in_channels=spec.in_channels,
        classes=spec.classes,
        **spec.parameters,
    )


def prepare(spec: CandidateSpec, data: Target, protocol: Protocol, *, device: torch.device) -> Candidate:
    """Load the candidate, source head included, for the target; ScienceError names what does not fit."""
    architecture = registry.architectures().get(spec.architecture)
    if architecture and data.task not in architecture.tasks:
        raise ScienceError(
            f"architecture: {spec.architecture} is for {', '.join(architecture.tasks)}, the target is "
            f"{data.task}; register the checkpoint under an architecture for that"
        )
    if spec.head not in HEADS:
        raise ScienceError(f"card.head: {spec.head!r} is not known; use one of {', '.join(HEADS)}")
    if spec.spatial_dims != data.spatial_dims:
        raise ScienceError(
            f"spatial_dims: the checkpoint is {spec.spatial_dims}D, the dataset {data.spatial_dims}D; "
            "choose candidates of the dataset's dimension"
        )
    if spec.in_channels != data.channels:
        raise ScienceError(
            f"in_channels: the checkpoint takes {spec.in_channels} channels, "
            f"the dataset has {data.channels}; "
            "choose candidates with as many, or store the dataset with as many"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(protocol.seed)
        network, report = load_source(spec)
    network.module.to(device)
    if device.type == "cuda" and data.spatial_dims == 2:
        network.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    loader = TargetLoader(data, Normalisation(**spec.normalisation), network.divisor, protocol, device)
    return Candidate(network, report, loader, source_classes=spec.classes, head=spec.head)


def give_fresh_head(candidate: Candidate) -> None:
    """Put a head for the target's classes in the place of the source's, in place; before any training."""
    loader = candidate.loader
    replace_head(candidate.network, len(loader.data.classes), seed=loader.protocol.seed)
    if loader.device.type == "cuda" and loader.data.spatial_dims == 2:
        candidate.network.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
