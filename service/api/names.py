"""Names, ids and references, as they come in requests and go out in answers."""

from __future__ import annotations

import re
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

_NOT_IN_NAMES = r"[^A-Za-z0-9._+-]+"
ID_PATTERN = r"^[a-z]{2}_[0-9a-f]{21}$"
Text = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]
Name = Annotated[
    str,
    StringConstraints(max_length=120, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+-]*$"),
    Field(description="Name of letters, digits, spaces and `._+-`."),
]
Reference = Annotated[Text, Field(description="Id or name of what is meant.")]
Part = Annotated[str | None, Query(max_length=500, pattern=r"^[^\x00]*$")]  # what to narrow a list to
PathReference = Annotated[
    str,
    Path(
        min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$", description="Id, or name where there is one."
    ),
]


class NamedOut(BaseModel):
    """A dataset or checkpoint that something refers to."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(description="Id of the dataset or checkpoint.")
    name: str = Field(description="Name of the dataset or checkpoint.")


class SourceOut(NamedOut):
    """A checkpoint that something starts from."""

    partly_loaded: bool = Field(
        description="Whether part of the network outside its head has random values instead of the file's."
    )
    percent_loaded: float | None = Field(
        description="Share of the network's numbers outside its head that the file holds, from 0 to 100; null "
        "before the preflight is done."
    )


def name_from(path: FilePath, *, otherwise: str) -> str:
    """A permitted name for what a file holds, from the file's own."""
    return re.sub(_NOT_IN_NAMES, "-", path.stem).strip("-._+")[:120] or otherwise
