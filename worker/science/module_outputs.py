"""Outputs of modules inside a network, caught while it runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn


@contextmanager
def outputs_of(network: nn.Module, paths: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Path -> output in the latest forward pass, with its gradient, of the modules at these dotted paths."""
    outputs: dict[str, Tensor] = {}

    def keep(path: str, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        outputs[path] = output

    handles = [network.get_submodule(path).register_forward_hook(partial(keep, path)) for path in paths]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
