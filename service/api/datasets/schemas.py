"""Datasets as they come and go over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from service.api.names import Name, Text
from service.store.contents import Inspection
from service.store.tables import WorkState


class DatasetRequest(BaseModel):
    """A file of target images with labels or masks."""

    model_config = ConfigDict(extra="forbid")

    uri: Text = Field(
        description="`file://` URI or absolute path, inside the configured roots, of an npz with `images` "
        "(N,[D,]H,W[,C]), integer `masks` (N,[D,]H,W) or `labels`: (N,) classes, (N,) or (N,T) numbers for "
        "regression, (N,L) of 0 and 1 for multilabel; and if at hand `split`, `groups`, `spacing`."
    )
    name: Name | None = Field(None, description="Unique; default: the file's name.")
    task: Text = Field(
        description="What is to be told: an image's class, each voxel's class, an image's numbers, or which of "
        "several labels it has."
    )
    spatial_dims: Literal[2, 3] = Field(description="2 for images, 3 for volumes.")
    modality: Text | None = Field(None, description="How the images were taken, for people and lists.")
    cohort: Text | None = Field(None, description="Whose images they are, for people.")


class DatasetOut(BaseModel):
    """A registered dataset; usable when `state` is `done`."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(description="Sorts by creation; begins with ds_.")
    name: str = Field(description="Unique; stands for the id everywhere.")
    uri: str = Field(description="As it was registered.")
    task: str = Field(description="classification, segmentation, regression or multilabel.")
    spatial_dims: int = Field(description="2 for images, 3 for volumes.")
    modality: str | None = Field(description="How the images were taken.")
    cohort: str | None = Field(description="Whose images they are.")
    state: WorkState = Field(description="queued, running, done, failed: of the inspection.")
    reason: str | None = Field(description="Why the inspection failed.")
    fingerprint: str | None = Field(description="Of the content: a changed file is noticed.")
    inspection: Inspection | None = Field(description="What the worker found in the file.")
    created_at: datetime = Field(description="When it was registered.")
