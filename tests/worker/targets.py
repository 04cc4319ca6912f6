"""Small targets and candidates for tests of the science."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from models_zoo import architecture as registry
from models_zoo.architecture import Network
from models_zoo.card import Normalisation
from models_zoo.norms import Norm
from worker.science.candidate import Candidate, prepare
from worker.science.data.loader import TargetLoader, loader_of
from worker.science.data.target import Target, complete_split
from worker.science.evidence import gather as science
from worker.science.evidence.gather import Gathered
from worker.science.evidence.parts import USUAL_PARTS, Features, Part
from worker.science.specs import CandidateSpec, FinetuneProtocol, Progress, Protocol
from worker.science.target_tasks.registry import target_task
from worker.science.training.finetune import Finetuned, finetune
from worker.science.training.method import Method


def target(
    *,
    task: str = "segmentation",
    size: tuple[int, ...] = (16, 16),
    count: int = 20,
    classes: int = 2,
    channels: int = 1,
) -> Target:
    """Bright squares in noise, one brightness a class: something that a network can learn."""
    if task in ("regression", "multilabel"):
        return columns_target(task, size=size, count=count)
    random = np.random.default_rng(0)
    images = random.normal(100, 8, (count, channels, *size))
    labels = np.arange(count) % classes if task == "classification" else np.zeros((count, *size), int)
    for index in range(count):
        corner = [int(random.integers(side // 2)) for side in size]
        square = tuple(slice(at, at + side // 2) for at, side in zip(corner, size, strict=True))
        label = int(labels[index]) if task == "classification" else 1 + index % (classes - 1)
        images[(index, slice(None), *square)] += 60 * label
        if task == "segmentation":
            labels[(index, *square)] = label
    return made(task, images, labels.astype(np.int64), classes)


def columns_target(task: str, *, size: tuple[int, ...] = (16, 16), count: int = 20) -> Target:
    """Two numbers (in units far apart) or labels an image: how bright its square is, and how bright the rest."""
    random = np.random.default_rng(0)
    levels = random.random((count, 2)) if task == "regression" else random.integers(0, 2, (count, 2))
    images = random.normal(60, 8, (count, 1, *size)) + 60 * levels[:, 1].reshape(-1, 1, *(1 for _ in size))
    square = tuple(slice(side // 4, side // 4 + side // 2) for side in size)
    images[(slice(None), 0, *square)] += 120 * levels[:, 0].reshape(-1, *(1 for _ in size))
    return made(task, images, levels * [1000, 0.01] + [5, -1] if task == "regression" else levels, 2)


def made(task: str, images: NDArray[Any], labels: NDArray[Any], classes: int) -> Target:
    """A target with a split by hash."""
    count = len(images)
    ids = np.arange(count).astype(np.str_)
    return Target(
        task=target_task(task),
        spatial_dims=images.ndim - 2,
        images=np.clip(images, 0, 255).astype(np.uint8),
        labels=labels,
        classes=tuple(range(classes)),
        split=complete_split(None, ids),
        groups=np.arange(count),
        value_range=(0.0, 255.0),
        spacing=None,
        fingerprint="",
        warnings=(),
    )


def loader(data: Target, *, divisor: int = 1, **protocol: Any) -> TargetLoader:
    """Batches of a target on the CPU."""
    return TargetLoader(data, Normalisation(), divisor, Protocol(**protocol), torch.device("cpu"))


def unet_file(
    folder: Path,
    *,
    architecture: str = "unet",
    dims: int = 2,
    fresh: bool = False,
    seed: int = 0,
    norm: str = "batch",
) -> CandidateSpec:
    """A narrow U-Net's weights on disk; `fresh` leaves the affines as they are initialised (all z tied)."""
    torch.manual_seed(seed)
    parameters = {"width": 2, **({} if norm == "batch" else {"norm": norm, "groups": 2})}
    network = registry.build(architecture, spatial_dims=dims, in_channels=1, classes=2, **parameters)
    for layer in network.module.modules():
        if isinstance(layer, Norm) and not fresh:
            torch.nn.init.normal_(layer.weight, 1.0, 0.2)
            torch.nn.init.normal_(layer.bias, 0.0, 0.3)
    path = folder / f"{architecture}-{dims}-{seed}-{fresh}-{norm}.safetensors"
    save_file(network.module.state_dict(), path)
    return CandidateSpec(path, architecture, dims, 1, 2, parameters, {"scale": "unit"})


@dataclass(frozen=True)
class Made:
    """A candidate with the target and the protocol that it is evaluated by."""

    candidate: Candidate
    data: Target
    protocol: Protocol

    @property
    def network(self) -> Network:
        """The candidate's network."""
        return self.candidate.network

    @property
    def loader(self) -> TargetLoader:
        """The batches that the candidate is fed."""
        return loader_of(self.data, self.candidate, self.protocol)


def candidate(spec: CandidateSpec, data: Target, protocol: Protocol | None = None, **changes: Any) -> Made:
    """The candidate prepared for the target, on the CPU."""
    protocol = replace(protocol or Protocol(), **changes)
    return Made(prepare(spec, data, seed=protocol.seed, device=torch.device("cpu")), data, protocol)


def finetuned(made: Made, method: Method, **more: Any) -> Finetuned:
    """The result of a finetune of a candidate that was made here; its protocol is the candidate's."""
    assert isinstance(made.protocol, FinetuneProtocol)
    return finetune(made.candidate, made.data, method=method, protocol=made.protocol, progress=silent, **more)


def gather(made: Made, progress: Progress, *, needs: Set[Part] = USUAL_PARTS) -> Gathered:
    """The evidence of a candidate that was made here."""
    return science.gather(made.candidate, made.data, protocol=made.protocol, progress=progress, needs=needs)


def features_of(made: Made) -> Features:
    """The frozen features alone."""
    features = gather(made, silent, needs={Part.FEATURES}).evidence.features
    assert features is not None
    return features


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""
