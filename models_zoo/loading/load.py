"""Putting a checkpoint's tensors into a network and saying exactly what was and wasn't used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models_zoo.architecture import Network
from models_zoo.errors import ZooError
from models_zoo.loading.state_dicts import NAMED, CheckpointError, listed, read_state_dict, sha256
from models_zoo.norms import NormCount, norm_census

__all__ = [
    "CheckpointError",
    "Left",
    "LoadReport",
    "NormCount",
    "compare",
    "load",
    "norm_census",
    "read_state_dict",
    "replace_head",
    "sha256",
    "submodule",
]

BELOW_ALL = 99.9  # per cent, of one decimal: the highest share of a network that is not loaded whole
COUNTER = "num_batches_tracked"  # a BatchNorm's count of steps: absent in older files, and no weight
FOREIGN = "not part of the architecture"
REMEDY = (
    "Register it with the architecture and parameters that the file was trained with, or with allow_partial to "
    "use it as it is"
)


@dataclass(frozen=True)
class Left:
    """A tensor that `load` did not copy, with the reason."""

    key: str
    reason: str


@dataclass(frozen=True)
class LoadReport:
    """What `load` copies; `loaded + len(reinitialised) == tensors`, and `unused` is the file's side.

    The body is every tensor outside the head, running statistics among them, since a network computes with those
    too. Step counters count nowhere.
    """

    tensors: int  # of the network
    loaded: int
    percent_loaded: float  # 0-100, of the body's numbers; 100 when, and only when, all of them are loaded
    reinitialised: tuple[Left, ...]  # tensors of the network that keep their fresh values
    unused: tuple[Left, ...]  # tensors of the file that went nowhere
    norms: tuple[NormCount, ...]
    last_encoder_norm: str | None
    head: str  # the module path of the network's head

    def reinitialised_modules(self) -> tuple[str, ...]:
        """Paths of the modules with at least one tensor that was not in the file, in network order."""
        return tuple(dict.fromkeys(left.key.rpartition(".")[0] for left in self.reinitialised))

    @property
    def missing_of_body(self) -> tuple[Left, ...]:
        """Tensors of the body that were not loaded."""
        return tuple(left for left in self.reinitialised if not _is_of(self.head, left.key))

    @property
    def surplus(self) -> tuple[Left, ...]:
        """Tensors of the file that the architecture neither has nor leaves out on purpose."""
        return tuple(left for left in self.unused if left.reason == FOREIGN)


def load(network: Network, state: Mapping[str, Tensor], *, allow_partial: bool = False) -> LoadReport:
    """Copy every tensor of `state` that fits into `network.module`, in place.

    CheckpointError, with nothing copied, when the body is not loaded whole. With `allow_partial` it is enough
    that one weight of a convolution or a linear layer of the body fits.
    """
    report = compare(network, state)
    tensors = network.module.state_dict()
    fitting = [key for key, tensor in tensors.items() if _misfit(tensor, state.get(key)) is None]
    if not any(tensors[key].ndim > 1 and not _is_of(network.head, key) for key in fitting):
        raise CheckpointError(
            "uri: this is the state dict of another network: no weight of a convolution or linear layer fits. "
            f"The file has {listed(list(state)) or 'none'}; the architecture has {listed(list(tensors))}. "
            "Choose the architecture and parameters the file was trained with"
        )
    if report.missing_of_body and not allow_partial:
        raise CheckpointError(f"uri: {what_is_missing(report)}. {REMEDY}")
    with torch.no_grad():
        for key in fitting:
            tensors[key].copy_(state[key])
    return report


def what_is_missing(report: LoadReport) -> str:
    """How much of the body is not loaded, and the first few tensors with the reason of each."""
    missing = report.missing_of_body
    named = "; ".join(f"{left.key} ({left.reason})" for left in missing[:NAMED])
    more = f"; and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    of_network = "of the network outside its head"
    lacking = (
        f"1 tensor {of_network} is missing from the file or differs"
        if len(missing) == 1
        else f"{len(missing)} tensors {of_network} are missing from the file or differ"
    )
    share = min(report.percent_loaded, BELOW_ALL)
    return f"{lacking}, so that {share:.1f} % of its numbers would be loaded: {named}{more}"


def compare(network: Network, state: Mapping[str, Tensor]) -> LoadReport:
    """What `load` would copy and what not; nothing is copied, so the network may be one without values (meta)."""
    tensors = {key: tensor for key, tensor in network.module.state_dict().items() if not key.endswith(COUNTER)}
    misfits = {key: _misfit(tensor, state.get(key)) for key, tensor in tensors.items()}
    left = tuple(Left(key, why) for key, why in misfits.items() if why is not None)
    body = {key: tensor.numel() for key, tensor in tensors.items() if not _is_of(network.head, key)}
    loaded = sum(size for key, size in body.items() if misfits[key] is None)
    return LoadReport(
        tensors=len(misfits),
        loaded=len(misfits) - len(left),
        percent_loaded=100 * loaded / max(sum(body.values()), 1),
        reinitialised=left,
        unused=_unused(network, state, misfits),
        norms=norm_census(network.module),
        last_encoder_norm=network.last_encoder_norm,
        head=network.head,
    )


def _is_of(module: str, key: str) -> bool:
    """Whether a tensor belongs to the module at this path."""
    return key.startswith(f"{module}.")


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


def _unused(network: Network, state: Mapping[str, Tensor], misfits: Mapping[str, str | None]) -> tuple[Left, ...]:
    reasons = {key: misfits.get(key, _foreign(network, key)) for key in state if not key.endswith(COUNTER)}
    return tuple(Left(key, why) for key, why in reasons.items() if why is not None)


def _foreign(network: Network, key: str) -> str:
    """Why the architecture has no tensor of this name."""
    for prefix, why in network.unused_prefixes.items():
        if key.startswith(prefix):
            return f"left out on purpose: {why}"
    return FOREIGN


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
