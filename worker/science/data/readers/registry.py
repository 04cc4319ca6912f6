"""What a reader is, and how one file adds one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models_zoo.registry import Registry
from worker.science.data.data_file import DataFile, data_file
from worker.science.data.raw_target import RawTarget
from worker.science.data.target import Target
from worker.science.data.validation import validated
from worker.science.errors import ScienceError
from worker.science.target_tasks.registry import TargetTask, target_task

Read = Callable[[DataFile, TargetTask], RawTarget]


@dataclass(frozen=True)
class Reader:
    """A registered read function `(file, task) -> RawTarget` and the file endings it takes."""

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
    reader_of(path.name)  # of a file with an unknown ending, that is said first
    with data_file(path) as file:
        return read_file(file, task=task, spatial_dims=spatial_dims)


def read_file(file: DataFile, *, task: str, spatial_dims: int) -> Target:
    """Read and validate a dataset from its open file; ScienceError names what is wrong and the remedy."""
    of = target_task(task)
    return validated(reader_of(file.name).read(file, of), task=of, spatial_dims=spatial_dims)


def reader_of(name: str) -> Reader:
    """The reader for files of this name; ScienceError when there is none."""
    for reader in readers().values():
        if name.endswith(reader.endings):
            return reader
    readable = ", ".join(ending for reader in readers().values() for ending in reader.endings)
    raise ScienceError(f"uri: no reader for {name!r}; readable endings are {readable}")
