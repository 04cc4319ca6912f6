"""A candidate: its network with the source weights, its own head first, a fresh one before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from models_zoo import architecture as registry
from models_zoo.architecture import Network
from models_zoo.card import Normalisation
from models_zoo.loading.fitting import build_and_load
from models_zoo.loading.load import LoadReport, read_state_dict, replace_head
from models_zoo.machine import memory
from worker.science.data.target import Target
from worker.science.errors import ScienceError
from worker.science.single_voxels import guard_instance_norms
from worker.science.specs import CandidateSpec
from worker.science.target_tasks.registry import tasks_for

HEADS = ("softmax", "sigmoid", "none")


@dataclass(frozen=True)
class Candidate:
    """A network with its source weights on its device, what was loaded into it, and the input it expects."""

    network: Network
    report: LoadReport
    normalisation: Normalisation
    spatial_dims: int
    device: torch.device
    source_classes: int  # outputs of the source's own head
    head: str  # what they are, as in `CandidateSpec`
    spacing: tuple[float, ...] = ()  # as in `CandidateSpec`


def load_source(spec: CandidateSpec) -> tuple[Network, LoadReport]:
    """The source network with its weights, head included."""
    with torch.device("meta"):
        empty = registry.build(spec.architecture, **spec.settings).module
    size = sum(tensor.nbytes for tensor in empty.state_dict().values())
    if size > memory():
        raise ScienceError(
            f"parameters: this network takes {size / 2**30:.0f} GiB, the machine has {memory() / 2**30:.0f}; "
            "register the checkpoint with the sizes it was trained with"
        )
    state = read_state_dict(spec.content or spec.path)
    return build_and_load(spec.architecture, spec.settings, state, allow_partial=spec.allow_partial)


def prepare(spec: CandidateSpec, target: Target, *, seed: int, device: torch.device) -> Candidate:
    """Load the candidate, source head included, once it fits the target; ScienceError names what does not fit."""
    check_fit(spec, target)
    return load_candidate(spec, seed=seed, device=device)


def check_fit(spec: CandidateSpec, target: Target) -> None:
    """ScienceError when the checkpoint can't be used for the target; the message names the remedy."""
    architecture = registry.architectures().get(spec.architecture)
    if architecture and architecture.outputs is not target.task.outputs:
        tasks = ", ".join(tasks_for(architecture.outputs))
        raise ScienceError(
            f"architecture: {spec.architecture} is for {tasks}, the target is {target.task.name}; register "
            "the checkpoint under an architecture for that"
        )
    if spec.head not in HEADS:
        raise ScienceError(f"card.head: {spec.head!r} is not known; use one of {', '.join(HEADS)}")
    if spec.spatial_dims != target.spatial_dims:
        raise ScienceError(
            f"spatial_dims: the checkpoint is {spec.spatial_dims}D, the dataset {target.spatial_dims}D; "
            "choose candidates of the dataset's dimension"
        )
    if spec.in_channels != target.channels:
        raise ScienceError(
            f"in_channels: the checkpoint takes {spec.in_channels} channels, "
            f"the dataset has {target.channels}; "
            "choose candidates with as many, or store the dataset with as many"
        )


def load_candidate(spec: CandidateSpec, *, seed: int, device: torch.device) -> Candidate:
    """The candidate on its device; tensors that the file lacks get their values from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network, report = load_source(spec)
    guard_instance_norms(network.module)
    network.module.to(device)
    candidate = Candidate(
        network=network,
        report=report,
        normalisation=Normalisation(**spec.normalisation),
        spatial_dims=spec.spatial_dims,
        device=device,
        source_classes=spec.classes,
        head=spec.head,
        spacing=spec.spacing,
    )
    _order_channels(candidate)
    return candidate


def give_fresh_head(candidate: Candidate, *, outputs: int, seed: int) -> None:
    """Put a head with the target's outputs in the place of the source's, in place; before any training."""
    replace_head(candidate.network, outputs, seed=seed)
    _order_channels(candidate)


def _order_channels(candidate: Candidate) -> None:
    """Channels last, which CUDA is faster with in 2D."""
    if candidate.device.type == "cuda" and candidate.spatial_dims == 2:
        candidate.network.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
