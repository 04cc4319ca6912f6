"""Reading a checkpoint's file into plain tensors without ever running code from it."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
import torch
from torch import Tensor

from models_zoo.errors import ZooError
from models_zoo.machine import is_out_of_memory, memory

NESTED_UNDER = ("state_dict", "model_state_dict", "model", "net")
DATA_PARALLEL = "module."
CONVERT = "save `network.state_dict()` as safetensors where the file comes from"
MOST_TENSORS = 100_000  # of a file; the largest published networks have some thousands
LONGEST_NAMES = 10_000_000  # characters of all names in a file together
NAMED = 3  # keys a message lists
LONGEST_NAME = 80  # characters of a key in a message
DEEPEST = 4  # dicts around the tensors; a pickle can nest one in itself


class CheckpointError(ZooError):
    """A checkpoint file that can't be read, isn't to be trusted, or belongs to another network."""


@dataclass(frozen=True)
class Content:
    """The content of a checkpoint's file, read once: what is hashed is what is loaded."""

    name: str  # of the file, for messages
    data: bytes = field(repr=False)

    @classmethod
    def of(cls, name: str, stream: BinaryIO, *, size: int) -> Content:
        """The content of an open file of so many bytes; CheckpointError when it is empty or too large."""
        if size == 0:
            raise CheckpointError(f"uri: {name} is empty; copy it again")
        if size > memory():
            raise CheckpointError(
                f"uri: {name} has {size / 2**30:.1f} GiB, more than the {memory() / 2**30:.1f} GiB of memory that "
                "may be used to read it; is it the right file?"
            )
        return cls(name, stream.read(size))

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the content."""
        return hashlib.sha256(self.data).hexdigest()


def sha256(path: str | Path) -> str:
    """Hex digest of the file's content; CheckpointError if there's no such file."""
    return content_of(path).sha256


def content_of(path: str | Path) -> Content:
    """The content of the file at a path; CheckpointError if there's no such file."""
    file = _existing(path)
    with file.open("rb") as stream:
        return Content.of(str(file), stream, size=os.fstat(stream.fileno()).st_size)


def read_state_dict(source: str | Path | Content) -> dict[str, Tensor]:
    """Parameter names and tensors (CPU, dense, finite) of a safetensors or PyTorch file.

    A dict under `state_dict`, `model_state_dict`, `model` or `net` is unwrapped, a `module.` common to all
    keys is stripped, and plain Python values beside the tensors (an epoch, a name) are dropped.
    CheckpointError for everything else, above all a file whose loading would run code.
    """
    file = source if isinstance(source, Content) else content_of(source)
    stored = _read_safetensors(file) if _is_safetensors(file) else _read_torch(file)
    return _checked(file.name, _tensors(file.name, stored))


def listed(keys: list[str]) -> str:
    """The first few of `keys`, for a message."""
    named = [key if len(key) <= LONGEST_NAME else f"{key[:LONGEST_NAME]}..." for key in keys[:NAMED]]
    return ", ".join(named) + (f" and {len(keys) - NAMED} more" if len(keys) > NAMED else "")


def _existing(path: str | Path) -> Path:
    file = Path(path)
    if not file.exists():
        raise CheckpointError(f"uri: {file} does not exist; give the path of a checkpoint file")
    if not file.is_file():
        raise CheckpointError(f"uri: {file} is not a file; give the path of the checkpoint file itself")
    if not os.access(file, os.R_OK):
        raise CheckpointError(f"uri: the worker may not read {file}; change its permissions")
    return file


def _is_safetensors(file: Content) -> bool:
    start = file.data[:9]  # a little-endian header length, then a JSON object
    return start[8:] == b"{" or (file.name.endswith(".safetensors") and not start.startswith(b"PK"))


def _read_safetensors(file: Content) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(file.data)
    except Exception as error:  # a damaged file may fail in any way; none of them is this program's fault
        if is_out_of_memory(error):
            raise
        raise CheckpointError(
            f"uri: {file.name} is truncated or is no safetensors file ({_first_line(error)}); copy it again"
        ) from error


def _read_torch(file: Content) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns before it refuses; the error below says more
            return torch.load(io.BytesIO(file.data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(file.name, str(error))) from error
    except Exception as error:  # a damaged pickle may fail in any way; none of them is this program's fault
        if is_out_of_memory(error):
            raise
        why = _first_line(error)
        raise CheckpointError(
            f"uri: {file.name} is truncated or no PyTorch checkpoint ({why}); copy it again, or {CONVERT}"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or "damaged"


def _refusal(file: str, message: str) -> str:
    asked = re.search(r"GLOBAL ([\w.]+)", message)
    if asked:
        return f"uri: {file} asks to run code ({asked[1]}) and was not loaded; {CONVERT}"
    return f"uri: {file} asks to run code or is no plain state dict, and was not loaded; {CONVERT}"


def _tensors(file: str, content: Any) -> dict[str, Tensor]:
    """The tensors of `content` by name, unwrapped and without the DataParallel prefix."""
    for _ in range(DEEPEST):
        if not isinstance(content, Mapping):
            break
        inner = next((content[key] for key in NESTED_UNDER if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping):
        raise CheckpointError(f"uri: {file} holds a {type(content).__name__}, no state dict; {CONVERT}")
    kept = {key: value for key, value in content.items() if not _is_scalar(value)}
    odd = [str(k) for k, v in kept.items() if not (isinstance(k, str) and isinstance(v, Tensor))]
    if odd:
        raise CheckpointError(f"uri: {file} holds more than tensors ({listed(odd)}); {CONVERT}")
    if not kept:
        raise CheckpointError(f"uri: {file} holds no tensors; {CONVERT}")
    if len(kept) > MOST_TENSORS or sum(map(len, kept)) > LONGEST_NAMES:
        raise CheckpointError(f"uri: {file} holds {len(kept)} tensors or very long names; {CONVERT}")
    parallel = all(key.startswith(DATA_PARALLEL) for key in kept)
    return {key.removeprefix(DATA_PARALLEL) if parallel else key: value for key, value in kept.items()}


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _checked(file: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    odd = [key for key, tensor in state.items() if not _is_plain(tensor)]
    if odd:
        raise CheckpointError(f"uri: {file} holds tensors that aren't dense and real ({listed(odd)}); {CONVERT}")
    broken = [key for key, tensor in state.items() if not _is_finite(tensor)]
    if broken:
        raise CheckpointError(
            f"uri: {file} holds NaN or infinite values in {listed(broken)}; use a run that did not diverge"
        )
    return {key: tensor.detach().contiguous() for key, tensor in state.items()}


def _is_plain(tensor: Tensor) -> bool:
    """Dense and real, and no larger than what the file stores (a forged stride could ask for any memory)."""
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized or tensor.is_complex():
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _is_finite(tensor: Tensor) -> bool:
    # as float32, which is what a network computes in: a float64 beyond its range is infinite there
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor.to(torch.float32)).all())
