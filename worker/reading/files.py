"""Opening the file behind a URI, once and inside the configured roots."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from models_zoo.loading.state_dicts import Content
from service.settings import local_path, settings
from worker.science.data.data_file import DataFile
from worker.science.errors import ScienceError

Version = tuple[int, ...]
# Nothing waits for the other end of a FIFO, and no link that was put there meanwhile is followed.
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
_CHANGED = "{uri!r} became another kind of file while it was opened; register it again once it stays as it is"
_REASONS = {
    errno.ENOENT: "there is no file {uri!r}; check the path, as the worker sees it",
    errno.EACCES: "the worker may not read {uri!r}; change its permissions",
    errno.EPERM: "the worker may not read {uri!r}; change its permissions",
    errno.ENAMETOOLONG: "there is no file {uri!r}, whose name is too long; check the path",
    errno.ENOTDIR: "there is no file {uri!r}, since a part of its path is no folder (any more); check the path",
    errno.ELOOP: _CHANGED,
    errno.ENXIO: _CHANGED,
}


@dataclass(frozen=True)
class OpenFile:
    """A regular file inside the roots. All is read from this descriptor, so no other file can take its place.

    `path` names it in messages only.
    """

    path: Path
    stream: BufferedReader

    @property
    def version(self) -> Version:
        """What changes when the file is written to: its identity, size, and times of change."""
        status = os.fstat(self.stream.fileno())
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def sha256(self) -> str:
        """Hex digest of the whole content."""
        self.stream.seek(0)
        return hashlib.file_digest(self.stream, "sha256").hexdigest()

    def content(self) -> Content:
        """The whole content, in memory; CheckpointError when it is empty or too large."""
        self.stream.seek(0)
        return Content.of(str(self.path), self.stream, size=os.fstat(self.stream.fileno()).st_size)

    def data_file(self) -> DataFile:
        """The file as the readers of datasets take it."""
        self.stream.seek(0)
        return DataFile(self.path.name, self.stream)


@contextmanager
def opened(uri: str) -> Iterator[OpenFile]:
    """The file behind a URI, open while the body runs; ScienceError unless it is a regular file in the roots.

    OSError when the file system fails, which may pass.
    """
    path = checked_path(uri)
    try:
        descriptor = _open_below(path)
    except OSError as error:
        reason = _REASONS.get(error.errno or 0)
        if reason is None:
            raise
        raise ScienceError(f"uri: {reason.format(uri=uri)}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ScienceError(f"uri: {uri!r} is not a file; give the path of the file itself")
    with os.fdopen(descriptor, "rb") as stream:
        yield OpenFile(path, stream)


def checked_path(uri: str) -> Path:
    """The file behind a URI; ScienceError when it lies outside the roots, as this worker sees them."""
    try:
        return local_path(uri)
    except ValueError as error:
        raise ScienceError(f"uri: {error}") from error


def _open_below(path: Path) -> int:
    """Open a resolved path folder by folder from its root on, so that no link on the way is followed."""
    root = next(root for root in settings().allowed_roots if path.is_relative_to(root))
    *folders, name = path.relative_to(root).parts or (".",)
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in folders:
            below = os.open(folder, _FOLDER, dir_fd=at)
            os.close(at)
            at = below
        return os.open(name, _FILE, dir_fd=at)
    finally:
        os.close(at)
