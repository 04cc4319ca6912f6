"""Every hostile file ends in a reason within the limits: nothing runs, hangs, or is an internal error."""

from __future__ import annotations

import pickle
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models_zoo.machine import memory
from service.settings import Settings
from tests.worker.hostile import MARKER, OPCODES, Write, calling, checkpoints, datasets, pickled, zipped
from worker.reading.files import opened
from worker.reading.reader import Reader
from worker.science.errors import ScienceError

SECONDS = 2.0
PATIENCE = 60.0  # for the limit above and the start of the process, on a busy machine
BYTES = 200 * 2**20
REASON = re.compile(r"^[a-z_.]+: .*\w")
INTERNAL = re.compile(r"Traceback|internal error|[\x00-\x1f\x7f]")
SPEC = {
    "architecture": "unet",
    "spatial_dims": 2,
    "in_channels": 1,
    "classes": 2,
    "parameters": {"width": 2},
}


@pytest.fixture
def folder(configure: Callable[..., Settings], tmp_path: Path) -> Path:
    """The only root."""
    root = tmp_path / "root"
    root.mkdir()
    configure(roots=root, read_seconds=SECONDS, read_memory_share=BYTES / memory())
    return root


def refused(reader: Reader, path: Path, reading: str, **arguments: Any) -> str:
    """The reason why a file is refused."""
    with opened(str(path)) as file, pytest.raises(ScienceError) as error:
        reader.read(reading, file, {"name": path.name, **arguments}, pulse=lambda: None)
    return str(error.value)


def check(
    reader: Reader, folder: Path, cases: dict[str, tuple[str, Write]], reading: str, **arguments: Any
) -> None:
    """Each case is refused in time, by the same process, with nothing done beside the file."""
    pids = set()
    for number, (name, (ending, write)) in enumerate(cases.items()):
        path = folder / f"{number}{ending}"
        write(path)
        more = {"size": path.stat().st_size} if reading == "examine" else {}
        start = time.monotonic()
        reason = refused(reader, path, reading, **arguments, **more)
        assert time.monotonic() - start < PATIENCE, name
        assert REASON.match(reason), (name, reason)
        assert not INTERNAL.search(reason), (name, reason)
        assert list(folder.iterdir()) == [path], name
        path.unlink()
        pids.add(reader.pid)
    assert len(pids) == 1


def test_no_hostile_checkpoint_does_harm(reader: Reader, folder: Path) -> None:
    cases = checkpoints()
    assert len(cases) > 120
    check(reader, folder, cases, "examine", expected=None, spec=SPEC)


def test_no_hostile_dataset_does_harm(reader: Reader, folder: Path) -> None:
    cases = datasets()
    assert len(cases) > 40
    check(reader, folder, cases, "inspect", task="segmentation", spatial_dims=2)


def test_the_traps_do_work(folder: Path) -> None:
    """Read by a loader that trusts them, the files make the marker, or its absence would prove nothing."""
    for name in ("reduce", "stack-global", "inst", "obj"):
        pickled(OPCODES[name], lambda content: content)(folder / "trap.pt")
        pickle.loads((folder / "trap.pt").read_bytes())  # noqa: S301 - that is the point
        (folder / MARKER).unlink()
    assert zipped(calling("os system")).startswith(b"PK")


ELSEWHERE = (
    "/etc/passwd",
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "file://elsewhere/etc/passwd",
    "/proc/self/environ",
    "/dev/zero",
    "/dev/stdin",
    "{root}/../outside",
    "file://{root}/%2e%2e/outside",
    "file://{root}/../../../../etc/passwd",
    "{root}/link",
    "{root}/folder/outside",
    "http://example.com/a.pt",
    "file://{root}/a.pt?b",
    "file://{root}/a.pt#b",
    "relative/a.pt",
    "",
    "{root}/\x00",
    "{root}/a\n.pt",
    "file://[",
    "~/a.pt",
    "{root}//..//outside",
)


@pytest.mark.parametrize("uri", ELSEWHERE)
def test_no_uri_leads_out_of_the_roots(folder: Path, uri: str) -> None:
    (folder.parent / "outside").write_text("secret")
    (folder / "link").symlink_to(folder.parent / "outside")
    (folder / "folder").symlink_to(folder.parent)
    with pytest.raises(ScienceError, match=r"^uri: "), opened(uri.format(root=folder)):
        pytest.fail("it was opened")
