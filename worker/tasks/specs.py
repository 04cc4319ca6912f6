"""From claimed rows to the candidate specs that science takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from models_zoo.errors import ZooError
from service.jobs import contents
from service.jobs.work import CandidateCheckpoint
from worker.reading.files import checked_path, opened
from worker.science.errors import ScienceError
from worker.science.specs import CandidateSpec
from worker.tasks.contents import normalisation_of


def candidate_spec(
    uri: str, architecture: str, parameters: Mapping[str, Any], card: contents.Card, *, allow_partial: bool
) -> CandidateSpec:
    """What science needs to build and load a checkpoint; ScienceError names a missing parameter."""
    remaining = dict(parameters)
    try:
        dims, in_channels, classes = (
            int(remaining.pop(name)) for name in ("spatial_dims", "in_channels", "classes")
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ScienceError(f"parameters: {error} must be a whole number; register the checkpoint again") from error
    return CandidateSpec(
        path=checked_path(uri),
        architecture=architecture,
        spatial_dims=dims,
        in_channels=in_channels,
        classes=classes,
        parameters=remaining,
        normalisation=vars(normalisation_of(card.normalisation)),
        head=card.head,
        spacing=card.spacing,
        allow_partial=allow_partial,
    )


def verified_spec(checkpoint: CandidateCheckpoint) -> CandidateSpec:
    """The spec of a registered checkpoint, with the content of its file.

    That content was read before, by the preflight, so it may be read in this process. ScienceError when the file
    holds anything else or can't be opened, OSError when the file system fails.
    """
    spec = candidate_spec(
        checkpoint.uri,
        checkpoint.architecture,
        checkpoint.parameters,
        checkpoint.card,
        allow_partial=checkpoint.allow_partial,
    )
    try:
        with opened(checkpoint.uri) as file:
            content = file.content()
    except (ScienceError, ZooError) as error:
        raise ScienceError(f"checkpoint: the file of {checkpoint.name} can't be used. {error}") from error
    if content.sha256 != checkpoint.sha256:
        raise ScienceError(
            f"checkpoint: the file of {checkpoint.name} changed after registration; register it again under a new "
            "name"
        )
    return replace(spec, content=content)
