"""Turn a network's BatchNorms into AC-Norm, read their affines, and fold them back."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from worker.science.acnorm.equations import check_affines
from worker.science.acnorm.layer import ACNorm, ACNorm1d, ACNorm2d, ACNorm3d
from worker.science.errors import NotApplicableError, ScienceError
from worker.science.evidence import Affines

LAYERS: dict[type[nn.Module], type[ACNorm]] = {
    nn.BatchNorm1d: ACNorm1d,
    nn.BatchNorm2d: ACNorm2d,
    nn.BatchNorm3d: ACNorm3d,
}


def convert(
    network: nn.Module, *, temperature: float = 1.0, reference: bool = False, skip: Sequence[str] = ()
) -> nn.Module:
    """Replace every affine BatchNorm by AC-Norm whose source is its present affines, in place.

    Parameters and buffers stay the same objects, so a running optimiser stays valid. `skip` holds dotted
    module paths (with all below them) whose norms were re-initialised and so have no source affines.
    Returns `network` (or the new layer, when `network` itself is a BatchNorm). Raises NotApplicableError
    when no BatchNorm1d/2d/3d with affines and running statistics is left, ScienceError for an unknown path.
    """
    _check_skip(network, skip)

    def to_ac_norm(path: str, module: nn.Module) -> nn.Module | None:
        if not _can_convert(module) or _below(path, skip):
            return None
        return _ac_norm(module, temperature=temperature, reference=reference)

    network, count = _replace(network, to_ac_norm)
    if not count:
        raise NotApplicableError("the network has no BatchNorm with affine parameters and running statistics")
    return network


def fold(network: nn.Module) -> nn.Module:
    """Copy the network with each AC-Norm as the plain BatchNorm it equals.

    weight = (I + C) gamma, bias = (I + C) beta: evaluation gives the same output, training doesn't
    continue AC-Norm. State-dict keys are the plain architecture's.
    """

    def to_batch_norm(path: str, module: nn.Module) -> nn.Module | None:
        return _batch_norm(module) if isinstance(module, ACNorm) else None

    return _replace(copy.deepcopy(network), to_batch_norm)[0]


def affines(network: nn.Module) -> dict[str, Affines]:
    """Detached clones of source and present affines by module path, in network order (AC-Norm layers)."""
    return {
        path: Affines(
            source_weight=module.source_weight.detach().clone(),
            source_bias=module.source_bias.detach().clone(),
            target_weight=module.weight.detach().clone(),
            target_bias=module.bias.detach().clone(),
            eps=module.eps,
        )
        for path, module in network.named_modules()
        if isinstance(module, ACNorm)
    }


def _can_convert(module: nn.Module) -> bool:
    """Exact types only: a subclass may compute something else."""
    if type(module) not in LAYERS or not isinstance(module, _BatchNorm):
        return False
    needed = (module.weight, module.bias, module.running_mean, module.running_var)
    return all(tensor is not None for tensor in needed)


def _ac_norm(module: nn.Module, *, temperature: float, reference: bool) -> nn.Module:
    assert isinstance(module, _BatchNorm)  # noqa: S101 - narrows the type
    check_affines(module.weight, module.bias)
    layer = LAYERS[type(module)](
        module.num_features,
        temperature=temperature,
        reference=reference,
        eps=module.eps,
        momentum=module.momentum,
        device=module.weight.device,
        dtype=module.weight.dtype,
    )
    with torch.no_grad():
        layer.source_weight.copy_(module.weight)
        layer.source_bias.copy_(module.bias)
    return _take_over(layer, module)


def _batch_norm(layer: ACNorm) -> nn.Module:
    plain = next(kind for kind in LAYERS if isinstance(layer, kind))
    assert issubclass(plain, _BatchNorm)  # noqa: S101 - narrows the type
    norm = plain(layer.num_features, layer.eps, layer.momentum)
    with torch.no_grad():
        weight, bias = layer.affines()
    _take_over(norm, layer)
    norm.weight = nn.Parameter(weight.clone(), requires_grad=layer.weight.requires_grad)
    norm.bias = nn.Parameter(bias.clone(), requires_grad=layer.bias.requires_grad)
    return norm


def _take_over(new: _BatchNorm, old: _BatchNorm) -> nn.Module:
    """Give `new` the very tensors, the mode and the momentum of `old`."""
    new.weight, new.bias = old.weight, old.bias
    new.running_mean, new.running_var = old.running_mean, old.running_var
    new.num_batches_tracked = old.num_batches_tracked
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
    known = {path for path, _ in network.named_modules()}
    if unknown := sorted(set(skip) - known):
        raise ScienceError(f"skip names modules that the network lacks: {', '.join(unknown)}")
