"""What the reading process does with a file. No other process may do this with a file that nobody vouches for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from models_zoo.loading.state_dicts import Content
from service.jobs import stored
from worker.science.candidate import load_source
from worker.science.data.data_file import DataFile
from worker.science.data.readers.registry import read_file
from worker.science.errors import ScienceError
from worker.science.specs import CandidateSpec
from worker.science.stage_widths import stage_widths
from worker.tasks.contents import inspection_of, preflight_of

Json = dict[str, Any]


def examine(stream: BinaryIO, *, name: str, size: int, expected: str | None, spec: Mapping[str, Any]) -> Json:
    """Load a checkpoint into its network: the digest of what was loaded, and the report as a Preflight."""
    content = Content.of(name, stream, size=size)
    if expected and expected != content.sha256:
        raise ScienceError(
            f"uri: the file's sha256 is {content.sha256}, its card says {expected}; get the right file"
        )
    candidate = CandidateSpec(path=Path(name), **spec, content=content)
    network, report = load_source(candidate)
    return {"sha256": content.sha256, "preflight": stored(preflight_of(report, stage_widths(network, candidate)))}


def inspect(stream: BinaryIO, *, name: str, task: str, spatial_dims: int) -> Json:
    """Read and validate a whole dataset: its fingerprint, and what it holds as an Inspection."""
    target = read_file(DataFile(name, stream), task=task, spatial_dims=spatial_dims)
    return {"fingerprint": target.fingerprint, "inspection": stored(inspection_of(target))}


READINGS: Mapping[str, Callable[..., Json]] = {"examine": examine, "inspect": inspect}
