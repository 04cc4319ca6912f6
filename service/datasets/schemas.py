"""Datasets as they come and go over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.dependencies import Name, Text


class DatasetRequest(BaseModel):
    """A file of target images with labels or masks."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "uri": "file:///data/discs.npz",
                    "name": "discs",
                    "task": "segmentation",
                    "spatial_dims": 2,
                    "modality": "fundus",
                    "cohort": "clinic A",
                }
            ]
        },
    )

    uri: Text = Field(
        description="`file://` URI or absolute path, inside the configured roots, of an npz with `images` "
        "(N,[D,]H,W[,C]), `labels` (N,) or integer `masks` (N,[D,]H,W), and if at hand `split`, `groups`, "
        "`spacing`."
    )
    name: Name | None = Field(None, description="Unique; default: the file's name.")
    task: Literal["classification", "segmentation"]
    spatial_dims: Literal[2, 3]
    modality: Text | None = None
    cohort: Text | None = None


class DatasetOut(BaseModel):
    """A registered dataset; usable when `state` is `done`."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    uri: str
    task: str
    spatial_dims: int
    modality: str | None
    cohort: str | None
    state: str = Field(description="queued, running, done, failed: of the inspection.")
    reason: str | None = Field(description="Why the inspection failed.")
    fingerprint: str | None = Field(description="Of the content: a changed file is noticed.")
    inspection: dict[str, Any] | None = Field(description="What the worker found in the file.")
    created_at: datetime
