"""Turn a network's norms into AC-Norm, read their affines, and fold them back."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from models_zoo.norms import Norm
from worker.science.acnorm import layer as ac
from worker.science.acnorm.equations import check_affines
from worker.science.acnorm.layer import ACNorm
from worker.science.errors import NotApplicableError, ScienceError
from worker.science.evidence.parts import Affines

# The paper's three, then those beyond it.
LAYERS: dict[type[nn.Module], type[ACNorm]] = {
    nn.BatchNorm1d: ac.ACNorm1d,
    nn.BatchNorm2d: ac.ACNorm2d,
    nn.BatchNorm3d: ac.ACNorm3d,
    nn.GroupNorm: ac.ACGroupNorm,
    nn.InstanceNorm1d: ac.ACInstanceNorm1d,
    nn.InstanceNorm2d: ac.ACInstanceNorm2d,
    nn.InstanceNorm3d: ac.ACInstanceNorm3d,
    nn.LayerNorm: ac.ACLayerNorm,
}
PLAIN = {converted: plain for plain, converted in LAYERS.items()}
TENSORS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def convert(
    network: nn.Module, *, temperature: float = 1.0, reference: bool = False, skip: Sequence[str] = ()
) -> nn.Module:
    """Replace every norm that AC-Norm can recalibrate by AC-Norm whose source is its present affines, in place.

    BatchNorm with running statistics (AC-Norm, Eq. 6-9) and, beyond the paper, GroupNorm, InstanceNorm and
    LayerNorm over channels; each with weight and bias. Parameters and buffers stay the same objects, so a
    running optimiser stays valid. `skip` holds dotted module paths (with all below them) whose norms were
    re-initialised and so have no source affines. Returns `network` (or the new layer, when `network` itself
    is a norm). Raises NotApplicableError with what was found instead when no such norm is left, ScienceError
    for an unknown path.
    """
    left = unconverted(network, skip=skip)

    def to_ac_norm(path: str, module: nn.Module) -> nn.Module | None:
        if path in left or type(module) not in LAYERS:
            return None
        return _ac_norm(module, temperature=temperature, reference=reference)

    converted, count = _replace(network, to_ac_norm)
    if not count:
        raise NotApplicableError(f"AC-Norm has no norm layer to recalibrate: the network has {_listed(left)}")
    return converted


def unconverted(network: nn.Module, *, skip: Sequence[str] = ()) -> dict[str, str]:
    """The plain norm layers that `convert` leaves as they are: module path -> what it is and lacks.

    ScienceError when `skip` names a module that the network lacks.
    """
    _check_skip(network, skip)
    norms = {path: module for path, module in network.named_modules() if isinstance(module, Norm)}
    reasons = {
        path: "re-initialised" if _below(path, skip) else _obstacle(norm)
        for path, norm in norms.items()
        if not isinstance(norm, ACNorm)
    }
    return {path: f"{type(norms[path]).__name__} {reason}" for path, reason in reasons.items() if reason}


def fold(network: nn.Module) -> nn.Module:
    """Copy the network with each AC-Norm as the plain norm it equals.

    weight = (I + C) gamma, bias = (I + C) beta: evaluation gives the same output, training doesn't
    continue AC-Norm. State-dict keys are the plain architecture's.
    """

    def to_plain(path: str, module: nn.Module) -> nn.Module | None:
        return _plain(module) if isinstance(module, ACNorm) else None

    return _replace(copy.deepcopy(network), to_plain)[0]


def affines(network: nn.Module) -> dict[str, Affines]:
    """Detached clones of source and present affines by module path, in network order (AC-Norm layers)."""
    return {
        path: Affines(
            source_weight=module.source_weight.detach().clone(),
            source_bias=module.source_bias.detach().clone(),
            target_weight=module.weight.detach().clone(),
            target_bias=module.bias.detach().clone(),
            eps=module.eps,
            norm=PLAIN[type(module)].__name__,
        )
        for path, module in network.named_modules()
        if isinstance(module, ACNorm)
    }


def _obstacle(norm: Norm) -> str | None:
    """Why AC-Norm can't take the norm's place; None when it can. A subclass may compute something else."""
    weight, bias = (getattr(norm, name, None) for name in ("weight", "bias"))
    if weight is None:
        return "without affine parameters"
    if bias is None:
        return "without bias"
    if type(norm) not in LAYERS:
        return "of a kind that AC-Norm doesn't know"
    if isinstance(norm, nn.LayerNorm) and len(norm.normalized_shape) != 1:
        return f"over {tuple(norm.normalized_shape)} instead of channels only"
    if isinstance(norm, _BatchNorm) and (norm.running_mean is None or norm.running_var is None):
        return "without running statistics"
    return None


def _listed(left: dict[str, str]) -> str:
    """What the network has in the place of norms to convert, in words."""
    return ", ".join(f"{count} {what}" for what, count in Counter(left.values()).items()) or "no norm layer"


def _ac_norm(module: nn.Module, *, temperature: float, reference: bool) -> nn.Module:
    weight, bias = module.get_parameter("weight"), module.get_parameter("bias")
    check_affines(weight, bias)
    options: dict[str, Any] = {"temperature": temperature, "reference": reference}
    new = LAYERS[type(module)](**_settings(module), **options, device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        new.source_weight.copy_(weight)
        new.source_bias.copy_(bias)
    return _take_over(new, module)


def _plain(layer: ACNorm) -> nn.Module:
    norm = PLAIN[type(layer)](**_settings(layer))
    with torch.no_grad():
        weight, bias = layer.affines()
    _take_over(norm, layer)
    norm.weight = nn.Parameter(weight.clone(), requires_grad=layer.weight.requires_grad)
    norm.bias = nn.Parameter(bias.clone(), requires_grad=layer.bias.requires_grad)
    return norm


def _settings(norm: nn.Module) -> dict[str, Any]:
    """The arguments torch's norm was built with: its constants bear their names."""
    names: Any = norm.__constants__
    return {name: getattr(norm, name) for name in names}


def _take_over(new: nn.Module, old: nn.Module) -> nn.Module:
    """Give `new` the very tensors and the mode of `old`."""
    for name in TENSORS:
        if hasattr(old, name):
            setattr(new, name, getattr(old, name))
    return new.train(old.training)


def _replace(network: nn.Module, change: Callable[[str, nn.Module], nn.Module | None]) -> tuple[nn.Module, int]:
    """Apply `change` to every module; one used in several places is changed once and stays shared."""
    changed = {id(module): new for path, module in network.named_modules() if (new := change(path, module))}
    for path, module in list(network.named_modules(remove_duplicate=False)):
        if path and id(module) in changed:
            network.set_submodule(path, changed[id(module)])
    return changed.get(id(network), network), len(changed)


def _below(path: str, roots: Sequence[str]) -> bool:
    return any(path == root or path.startswith(f"{root}.") for root in roots)


def _check_skip(network: nn.Module, skip: Sequence[str]) -> None:
    paths = {path for path, _ in network.named_modules()}
    if unknown := sorted(set(skip) - paths):
        raise ScienceError(f"skip names modules that the network lacks: {', '.join(unknown)}")
