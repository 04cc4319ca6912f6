"""Reading a checkpoint's file into plain tensors without ever running code from it."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from models_zoo.errors import ZooError
from models_zoo.machine import memory

NESTED_UNDER = ("state_dict", "model_state_dict", "model", "net")
DATA_PARALLEL = "module."
CONVERT = "save `network.state_dict()` as safetensors where the file comes from"
CHUNK = 1 << 20  # bytes
NAMED = 3  # keys a message lists
LONGEST_NAME = 80  # characters of a key in a message
DEEPEST = 4  # dicts around the tensors; a pickle can nest one in itself


class CheckpointError(ZooError):
    """A checkpoint file that can't be read, isn't to be trusted, or belongs to another network."""


def sha256(path: str | Path) -> str:
    """Hex digest of the file's content, read in pieces; CheckpointError if there's no such file."""
    file = _existing(path)
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Parameter names and tensors (CPU, dense, finite) of a safetensors or PyTorch file.

    A dict under `state_dict`, `model_state_dict`, `model` or `net` is unwrapped, a `module.` common to all
    keys is stripped, and plain Python values beside the tensors (an epoch, a name) are dropped.
    CheckpointError for everything else, above all a file whose loading would run code.
    """
    file = _existing(path)
    content = _read_safetensors(file) if _is_safetensors(file) else _read_torch(file)
    return _checked(file, _tensors(file, content))


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
    if file.stat().st_size == 0:
        raise CheckpointError(f"uri: {file} is empty; copy it again")
    if file.stat().st_size > memory():
        raise CheckpointError(f"uri: {file} is larger than this machine's memory; is it the right file?")
    if not os.access(file, os.R_OK):
        raise CheckpointError(f"uri: the worker may not read {file}; change its permissions")
    return file


def _is_safetensors(file: Path) -> bool:
    with file.open("rb") as stream:
        start = stream.read(9)  # a little-endian header length, then a JSON object
    return start[8:] == b"{" or (file.suffix == ".safetensors" and not start.startswith(b"PK"))


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(file, device="cpu")
    except Exception as error:  # a damaged file may fail in any way; none of them is this program's fault
        raise CheckpointError(
            f"uri: {file} is truncated or is no safetensors file ({_first_line(error)}); copy it again"
        ) from error


def _read_torch(file: Path) -> Any:
    try:
        with file.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns before it refuses; the error below says more
            # as a stream: given a path, torch.load would choose the format by its suffix
            return torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(file, str(error))) from error
    except Exception as error:  # a damaged pickle may fail in any way; none of them is this program's fault
        why = _first_line(error)
        raise CheckpointError(
            f"uri: {file} is truncated or no PyTorch checkpoint ({why}); copy it again, or {CONVERT}"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or "damaged"


def _refusal(file: Path, message: str) -> str:
    asked = re.search(r"GLOBAL ([\w.]+)", message)
    if asked:
        return f"uri: {file} asks to run code ({asked[1]}) and was not loaded; {CONVERT}"
    return f"uri: {file} asks to run code or is no plain state dict, and was not loaded; {CONVERT}"


def _tensors(file: Path, content: Any) -> dict[str, Tensor]:
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
    parallel = all(key.startswith(DATA_PARALLEL) for key in kept)
    return {key.removeprefix(DATA_PARALLEL) if parallel else key: value for key, value in kept.items()}


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _checked(file: Path, state: dict[str, Tensor]) -> dict[str, Tensor]:
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
