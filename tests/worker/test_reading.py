"""Files that nobody vouches for: opened once inside the roots, and read in a process that can't do harm."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from numpy.lib import format as npy
from safetensors.torch import save_file

from models_zoo import architecture as registry
from models_zoo.machine import is_out_of_memory, memory, of_control_groups
from service.jobs import passes
from service.settings import Settings
from tests.worker.hostile import endless
from worker.reading import files
from worker.reading.files import opened
from worker.reading.reader import Reader
from worker.science.errors import ScienceError

UNET: dict[str, Any] = {"spatial_dims": 2, "in_channels": 1, "classes": 2}
SPEC = {**UNET, "architecture": "unet", "parameters": {"width": 2}}


@pytest.fixture
def roots(configure: Callable[..., Settings], tmp_path: Path) -> Path:
    """A folder that URIs may point into; one file may be read for a second."""
    folder = tmp_path / "root"
    folder.mkdir()
    configure(roots=folder, read_seconds=2)
    return folder


def unet(path: Path) -> Path:
    """A small U-Net's file."""
    save_file(registry.build("unet", **UNET, width=2).module.state_dict(), path)
    return path


def endless_file(folder: Path) -> Path:
    """A file whose reading never ends and never gives Python a turn."""
    endless(folder / "endless.pt")
    return folder / "endless.pt"


def zeros(path: Path, *, shape: tuple[int, ...]) -> Path:
    """An npz whose few bytes are this many zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("images.npy", "w") as stream:
        npy.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for _ in range(shape[0]):
            stream.write(bytes(int(np.prod(shape[1:]))))
    return path


def nothing() -> None:
    """What a job does while it waits."""


def examine(reader: Reader, path: Path, *, pulse: Callable[[], None] = nothing, **spec: Any) -> dict[str, Any]:
    with opened(str(path)) as file:
        size = path.stat().st_size
        asked = {"name": path.name, "size": size, "expected": None, "spec": {**SPEC, **spec}}
        return reader.read("examine", file, asked, pulse=pulse)


def inspect(reader: Reader, path: Path) -> dict[str, Any]:
    with opened(str(path)) as file:
        asked = {"name": path.name, "task": "segmentation", "spatial_dims": 2}
        return reader.read("inspect", file, asked, pulse=nothing)


def test_a_good_file_is_reported_in_tenths_of_a_second(reader: Reader, roots: Path) -> None:
    path = unet(roots / "good.safetensors")
    first = examine(reader, path)
    pid, seconds = reader.pid, []
    for _ in range(5):
        start = time.monotonic()
        assert examine(reader, path) == first
        seconds.append(time.monotonic() - start)
    assert min(seconds) < 1
    assert reader.pid == pid
    assert first["preflight"]["percent_loaded"] == 100


def test_a_file_that_never_ends_is_given_up_with_the_limit_and_the_next_one_is_read(
    reader: Reader, roots: Path
) -> None:
    pid = examine(reader, unet(roots / "good.safetensors")) and reader.pid
    start = time.monotonic()
    with pytest.raises(ScienceError, match=r"^uri: endless\.pt could not be read in 2 s; .*ZOORANK_READ_SECONDS"):
        examine(reader, endless_file(roots))
    assert time.monotonic() - start < 20  # the limit is 2 s
    assert reader.pid == pid
    assert psutil.Process(pid).children() == []
    assert examine(reader, unet(roots / "good.safetensors"))["sha256"]


def test_what_needs_more_memory_than_it_may_take_is_refused(
    reader: Reader, configure: Callable[..., Settings], tmp_path: Path
) -> None:
    configure(roots=tmp_path, read_memory_share=200 * 2**20 / memory())
    declared = zeros(tmp_path / "declared.npz", shape=(300, 1024, 1024))
    assert declared.stat().st_size < 2**20
    with pytest.raises(ScienceError, match=r"^uri: 0\.3 GiB uncompressed are more than the 0\.\d GiB of memory"):
        inspect(reader, declared)
    wide = unet(tmp_path / "wide.safetensors")
    with pytest.raises(ScienceError, match=r"^parameters: this network takes|^uri: .* needs more memory"):
        examine(reader, wide, parameters={"width": 96})
    copied = zeros(tmp_path / "copied.npz", shape=(150, 1024, 1024))  # fits, and its copy does not
    with zipfile.ZipFile(copied, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("masks.npy", "w") as stream:
        npy.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": (40, 1024, 1024)})
        stream.write(bytes(40 * 2**20))
    with pytest.raises(ScienceError, match=r"^(uri: copied\.npz needs more memory to be read than|masks: )"):
        inspect(reader, copied)
    assert examine(reader, unet(tmp_path / "good.safetensors"))["sha256"]


def test_a_job_that_is_lost_meanwhile_ends_the_reading(reader: Reader, roots: Path) -> None:
    class LostError(Exception):
        pass

    def pulse() -> None:
        if below and below[0].children():
            below.extend(below[0].children())
            raise LostError

    below = [psutil.Process(reader.pid or os.getpid())]
    with pytest.raises(LostError):
        examine(reader, endless_file(roots), pulse=pulse)
    assert reader.pid is None
    assert psutil.wait_procs(below, timeout=20)[1] == []


def test_the_reading_process_knows_no_secret_and_ends_with_its_worker(tmp_path: Path) -> None:
    unet(tmp_path / "good.safetensors")
    script = (
        "import os, sys; from pathlib import Path; from tests.worker.test_reading import examine\n"
        "from worker.reading.reader import reader\n"
        f"examine(reader(), Path({str(tmp_path / 'good.safetensors')!r}))\n"
        "print(reader().pid, flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "ZOORANK_ROOTS": str(tmp_path), "ZOORANK_DATABASE_URL": "sqlite:////secret"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    worker = subprocess.Popen([sys.executable, "-c", script], env=environment, **pipes)  # type: ignore[call-overload]
    reading = psutil.Process(int(worker.stdout.readline()))
    assert not [name for name in reading.environ() if name.startswith("ZOORANK_")]
    worker.kill()
    worker.wait()
    assert psutil.wait_procs([reading], timeout=20)[1] == []


# --- opening ---------------------------------------------------------------------------------------------------


def test_a_link_that_is_put_in_place_at_the_last_moment_is_not_followed(
    roots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links are resolved and checked first. What becomes one afterwards would lead anywhere."""
    outside = unet(tmp_path / "outside.safetensors")
    (tmp_path / "elsewhere").mkdir()
    unet(tmp_path / "elsewhere" / "inside.safetensors")
    resolve = files.local_path

    def swapped(change: Callable[[Path], None]) -> Callable[[str], Path]:
        def local_path(uri: str) -> Path:
            path = resolve(uri)
            change(path)
            return path

        return local_path

    def link_file(path: Path) -> None:
        path.unlink()
        path.symlink_to(outside)

    def link_folder(path: Path) -> None:
        path.parent.rename(tmp_path / "moved")
        path.parent.symlink_to(tmp_path / "elsewhere")

    for change in (link_file, link_folder):
        (roots / "folder").mkdir(exist_ok=True)
        path = unet(roots / "folder" / "inside.safetensors")
        monkeypatch.setattr(files, "local_path", swapped(change))
        with pytest.raises(ScienceError, match=r"^uri: .* (became|is no folder \(any)"), opened(str(path)):
            pass
        monkeypatch.undo()
        (roots / "folder" / "inside.safetensors").unlink(missing_ok=True)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE])
def test_a_file_system_that_fails_is_waited_for(roots: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """It says nothing about the file, so it is no reason to fail a job."""

    def fail(_path: Path) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files, "_open_below", fail)
    with pytest.raises(OSError, match=os.strerror(number)) as caught, opened(str(roots / "good.safetensors")):
        pass
    assert passes(caught.value)


def test_a_request_that_is_cut_off_ends_the_reading_process(reader: Reader, roots: Path) -> None:
    own = Reader()
    examine(own, unet(roots / "good.safetensors"))
    assert own._process is not None
    assert own._socket is not None
    with (roots / "good.safetensors").open("rb") as file:
        socket.send_fds(own._socket, [b'{"reading": "exam'], [file.fileno()])
    own._socket.shutdown(socket.SHUT_RDWR)
    assert own._process.wait(20) == 0
    own.close()


def test_what_is_opened_stays_the_file_that_it_was(roots: Path) -> None:
    path = unet(roots / "good.safetensors")
    before = path.read_bytes()
    with opened(str(path)) as file:
        path.unlink()
        path.write_bytes(b"another file")
        assert file.content().data == before
        version = file.version
    with opened(str(path)) as file:
        assert file.version != version


def kinds(roots: Path) -> dict[str, tuple[Path, str]]:
    """What is no readable regular file, and words of the reason."""
    os.mkfifo(roots / "fifo")
    (roots / "zero").symlink_to("/dev/zero")
    (roots / "loop").symlink_to(roots / "loop")
    (roots / "folder").mkdir()
    return {
        "fifo": (roots / "fifo", "is not a file"),
        "device": (roots / "zero", "outside the configured roots"),
        "loop": (roots / "loop", "loop of links|no file|became another"),
        "folder": (roots / "folder", "is not a file"),
        "below a file": (unet(roots / "file") / "below", "a part of its path is no folder"),
        "missing": (roots / "missing", "there is no file"),
        "long": (roots / ("x" * 300), "too long|no file"),
        "the root itself": (roots, "is not a file"),
        "outside": (roots.parent / "outside", "outside the configured roots"),
    }


def test_anything_but_a_file_in_the_roots_is_refused_at_once(roots: Path) -> None:
    for name, (path, words) in kinds(roots).items():
        with pytest.raises(ScienceError, match=rf"^uri: .*({words})"), opened(str(path)):
            pytest.fail(f"{name} was opened")


# --- memory ----------------------------------------------------------------------------------------------------


def test_the_containers_memory_is_known(tmp_path: Path) -> None:
    for folder, limit in (("lab", "max"), ("lab/zoo", "4096"), ("lab/zoo/worker", "8192")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "memory.max").write_text(f"{limit}\n")
    old = tmp_path / "memory" / "lab"
    old.mkdir(parents=True)
    (old / "memory.limit_in_bytes").write_text("2048\n")
    own = tmp_path / "own"
    own.write_text("9:cpu:/lab\n0::/lab/zoo/worker\n")
    assert sorted(of_control_groups(tmp_path, own)) == [4096, 8192]
    own.write_text("4:memory:/lab/not/mounted/here\n0::/\n")
    assert list(of_control_groups(tmp_path, own)) == [2048]
    assert list(of_control_groups(tmp_path, tmp_path / "none")) == []


def test_torchs_failed_allocations_are_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as failed:
        torch.zeros(2**60, dtype=torch.uint8)
    assert is_out_of_memory(failed.value)
    assert not is_out_of_memory(RuntimeError("shapes differ"))
