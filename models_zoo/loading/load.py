"""Putting a checkpoint's tensors into a network and saying exactly what was and wasn't used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models_zoo.architecture import Network
from models_zoo.errors import ZooError
from models_zoo.loading.state_dicts import CheckpointError, listed, read_state_dict, sha256
from models_zoo.norms import NormCount, norm_census

__all__ = [
    "MINIMUM_PERCENT_LOADED",
    "CheckpointError",
    "Left",
    "LoadReport",
    "NormCount",
    "load",
    "norm_census",
    "read_state_dict",
    "replace_head",
    "sha256",
    "submodule",
]

MINIMUM_PERCENT_LOADED = 50.0
COUNTER = "num_batches_tracked"  # a BatchNorm's count of steps: absent in older files, and no weight


@dataclass(frozen=True)
class Left:
    """A tensor that `load` did not copy, with the reason."""

    key: str
    reason: str


@dataclass(frozen=True)
class LoadReport:
    """What `load` copied; `loaded + len(reinitialised) == tensors`, and `unused` is the file's side."""

    tensors: int  # of the network, step counters aside
    loaded: int
    percent_loaded: float  # 0-100, of the tensors outside the head
    reinitialised: tuple[Left, ...]  # tensors of the network that keep their fresh values
    unused: tuple[Left, ...]  # tensors of the file that went nowhere
    norms: tuple[NormCount, ...]
    last_encoder_norm: str | None

    def reinitialised_modules(self) -> tuple[str, ...]:
        """Paths of the modules with at least one tensor that was not in the file, in network order."""
        return tuple(dict.fromkeys(left.key.rpartition(".")[0] for left in self.reinitialised))


def load(network: Network, state: Mapping[str, Tensor]) -> LoadReport:
    """Copy every tensor of `state` that fits into `network.module`, in place.

    CheckpointError, with nothing copied, when less than MINIMUM_PERCENT_LOADED of the tensors outside
    the head fit: the state dict is another network's.
    """
    tensors = network.module.state_dict()
    misfits = {key: _misfit(tensor, state.get(key)) for key, tensor in tensors.items()}
    report = _report(network, state, {key: why for key, why in misfits.items() if not key.endswith(COUNTER)})
    if report.percent_loaded < MINIMUM_PERCENT_LOADED:
        raise CheckpointError(
            f"uri: this is the state dict of another network: {report.percent_loaded:.0f} % of the tensors "
            f"fit. The file has {listed(list(state)) or 'none'}; the architecture has {listed(list(tensors))}. "
            "Choose the architecture and parameters the file was trained with"
        )
    with torch.no_grad():
        for key, why in misfits.items():
            if why is None:
                tensors[key].copy_(state[key])
    return report


def submodule(network: Network, path: str) -> nn.Module:
    """The module at dotted `path`; ZooError when there is none."""
    try:
        return network.module.get_submodule(path)
    except AttributeError as error:
        raise ZooError(f"path: the network has no module {path!r} ({error})") from error


def replace_head(network: Network, classes: int, *, seed: int) -> None:
    """Put a fresh head with `classes` outputs in the place of `network.head`, in place.

    The new weights depend on `seed` alone, and the global random state stays as it was.
    ZooError when the head is neither a convolution nor a linear layer.
    """
    if classes < 1:
        raise ZooError(f"classes: a head needs at least 1 output, not {classes}")
    old = submodule(network, network.head)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        new = _fresh_head(old, classes, network.head)
    parent, _, name = network.head.rpartition(".")
    setattr(submodule(network, parent), name, new)


def _misfit(wanted: Tensor, given: Tensor | None) -> str | None:
    """Why `given` can't be copied into `own`; None when it can."""
    if given is None:
        return "not in the file"
    if given.shape != wanted.shape:
        return f"shape differs: {tuple(given.shape)} in the file, {tuple(wanted.shape)} in the network"
    if given.is_floating_point() != wanted.is_floating_point():
        return f"type differs: {given.dtype} in the file, {wanted.dtype} in the network"
    return None


def _report(network: Network, state: Mapping[str, Tensor], misfits: Mapping[str, str | None]) -> LoadReport:
    left = tuple(Left(key, why) for key, why in misfits.items() if why is not None)
    body = [why is None for key, why in misfits.items() if not key.startswith(f"{network.head}.")]
    return LoadReport(
        tensors=len(misfits),
        loaded=len(misfits) - len(left),
        percent_loaded=100 * sum(body) / max(len(body), 1),
        reinitialised=left,
        unused=_unused(network, state, misfits),
        norms=norm_census(network.module),
        last_encoder_norm=network.last_encoder_norm,
    )


def _unused(network: Network, state: Mapping[str, Tensor], misfits: Mapping[str, str | None]) -> tuple[Left, ...]:
    reasons = {key: misfits.get(key, _foreign(network, key)) for key in state if not key.endswith(COUNTER)}
    return tuple(Left(key, why) for key, why in reasons.items() if why is not None)


def _foreign(network: Network, key: str) -> str:
    """Why the architecture has no tensor of this name."""
    for prefix, why in network.unused_prefixes.items():
        if key.startswith(prefix):
            return f"left out on purpose: {why}"
    return "not part of the architecture"


def _fresh_head(old: nn.Module, classes: int, path: str) -> nn.Module:
    if isinstance(old, nn.Linear):
        fresh: nn.Module = nn.Linear(old.in_features, classes, bias=old.bias is not None)
    elif isinstance(old, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        convolution: Any = type(old)
        fresh = convolution(
            old.in_channels,
            classes,
            kernel_size=old.kernel_size,
            stride=old.stride,
            padding=old.padding,
            bias=old.bias is not None,
        )
    else:
        raise ZooError(f"head: {path} is a {type(old).__name__}; a head is a convolution or a linear layer")
    return fresh.to(next(old.parameters())).train(old.training)
