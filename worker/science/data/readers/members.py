"""The arrays of an npz, read so that no file can run code, lie about its size, or fail in an unknown way."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from models_zoo.machine import is_out_of_memory, memory
from worker.science.data.data_file import DataFile
from worker.science.errors import ScienceError

ENCRYPTED = 1
HEADER = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_members(file: DataFile, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Those of `names` that the npz has, in this machine's byte order; ScienceError says what is wrong."""
    try:
        with zipfile.ZipFile(file.stream) as archive:
            stored = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            wanted = {name: stored[name] for name in names if name in stored}
            _check_size(sum(entry.file_size for entry in wanted.values()))
            return {name: _array(archive, name, entry) for name, entry in wanted.items()}
    except ScienceError:
        raise
    except Exception as error:  # a damaged archive may fail in any way; none of them is this program's fault
        if is_out_of_memory(error):
            raise
        raise ScienceError(
            f"uri: {file.name!r} is no readable npz ({_first_line(error)}); write it again with numpy.savez"
        ) from error


def _check_size(size: int) -> None:
    if size > memory():
        raise ScienceError(
            f"uri: {size / 2**30:.1f} GiB uncompressed are more than the {memory() / 2**30:.1f} GiB of memory "
            "that may be used to read it; split the dataset, or use a larger machine"
        )


def _array(archive: zipfile.ZipFile, name: str, entry: zipfile.ZipInfo) -> NDArray[Any]:
    if entry.flag_bits & ENCRYPTED:
        raise ScienceError(f"{name}: it is encrypted; write it again with numpy.savez")
    try:
        with archive.open(entry) as stream:
            shape, dtype, start = _header(stream)
        if dtype.hasobject:
            raise ScienceError(
                f"{name}: it holds Python objects, which are never loaded; store plain numbers or text"
            )
        if prod(shape) * dtype.itemsize != entry.file_size - start:
            raise ScienceError(
                f"{name}: shape {shape} is not what the file holds; write it again with numpy.savez"
            )
        with archive.open(entry) as stream:
            array: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
    except ScienceError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise ScienceError(
            f"{name}: the array can't be read ({_first_line(error)}); write it again with numpy.savez"
        ) from error
    return _native(array)


def _header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, dtype, and where the values start."""
    version = npy.read_magic(stream)
    if version not in HEADER:
        raise ValueError(f"npy version {version}")
    shape, _, dtype = HEADER[version](stream)
    return shape, dtype, stream.tell()


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """The byte order of this machine, and no number wider than torch has."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or "damaged"
