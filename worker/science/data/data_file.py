"""An open file of a dataset."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from worker.science.errors import ScienceError


@dataclass(frozen=True)
class DataFile:
    """A file of a dataset, opened once: readers take its content from here and never open a path themselves."""

    name: str  # of the file; its ending decides the reader
    stream: BinaryIO


@contextmanager
def data_file(path: Path) -> Iterator[DataFile]:
    """The file at a path, open while the body runs; ScienceError when there is none."""
    if not path.is_file():
        raise ScienceError(f"uri: there is no file {path.name!r}; check the path, as the worker sees it")
    with path.open("rb") as stream:
        yield DataFile(path.name, stream)
