"""Files of networks that lost, canceled or failed attempts wrote: no row names them, so nobody gets them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from service.settings import settings
from service.store import finetune_runs
from service.store.session import Session
from service.store.tables import FinetuneRun, WorkState

_NETWORK = re.compile(r"(?P<run>\w+)-(?P<attempt>\d+)\.safetensors(\.part)?")


def remove_leftovers(session: Session) -> list[Path]:
    """Delete the files of lost attempts of runs that this database knows; the files that were deleted.

    A file that was written to within the last `ZOORANK_LEASE_SECONDS` is left for a later sweep. Files of unknown
    runs are left alone: another database may share the folder.
    """
    removed = []
    for run_id, files in groupby(
        _old_files(settings().networks_dir), key=lambda file: file.name.partition("-")[0]
    ):
        run = finetune_runs.find(session, run_id)
        for file in files if run else ():
            if run and not _needed(run, file):
                file.unlink(missing_ok=True)
                removed.append(file)
    return removed


def _old_files(folder: Path) -> Iterator[Path]:
    before = time.time() - settings().lease_seconds
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if _NETWORK.fullmatch(file.name) and file.lstat().st_mtime < before:
            yield file


def _needed(run: FinetuneRun, file: Path) -> bool:
    """Whether it is the delivered network, or one that the attempt under way is writing."""
    if run.state == WorkState.RUNNING:
        return file.name.startswith(f"{run.id}-{run.attempts}.")
    return run.result is not None and file.name == run.result.network_file
