"""What a reader is, and how one file adds one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models_zoo.registry import Registry
from worker.science.data.target import Target
from worker.science.errors import ScienceError

Read = Callable[[Path, str, int], Target]


@dataclass(frozen=True)
class Reader:
    """A registered read function `(path, task, spatial_dims) -> Target` and the file endings it takes."""

    name: str
    endings: tuple[str, ...]
    summary: str
    read: Read


_REGISTERED: Registry[Reader] = Registry("reader", "worker.science.data.readers")


def register(*, endings: tuple[str, ...], summary: str) -> Callable[[Read], Read]:
    """Make the decorated function the reader of files with these endings."""

    def add(read: Read) -> Read:
        name = read.__name__.removeprefix("read_")
        _REGISTERED.add(name, Reader(name, endings, summary, read))
        return read

    return add


def readers() -> dict[str, Reader]:
    """Every registered reader by name (scans `worker.science.data.readers`)."""
    return _REGISTERED.all()


def read(path: Path, *, task: str, spatial_dims: int) -> Target:
    """Read and validate the dataset at `path`; ScienceError names what is wrong and the remedy."""
    for reader in readers().values():
        if path.name.endswith(reader.endings):
            return reader.read(path, task, spatial_dims)
    known = ", ".join(ending for reader in readers().values() for ending in reader.endings)
    raise ScienceError(f"uri: no reader for {path.name!r}; readable endings are {known}")
