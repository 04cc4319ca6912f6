"""How torch computes while one protocol is worked on: its threads, and what float32 means on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from worker.science.specs import Protocol


@contextmanager
def computing(protocol: Protocol) -> Iterator[None]:
    """Run CPU work of torch and of numpy's libraries on the protocol's threads, GPU work in its precision.

    float32 keeps all 24 bits of a factor in convolutions and matrix products. TF32, which torch takes for
    convolutions by default, keeps 11 of them: it is the precision of that name.
    """
    with _threads(protocol.threads), _tf32(allowed=protocol.precision == "tf32"):
        yield


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _tf32(*, allowed: bool) -> Iterator[None]:
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = allowed
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before
