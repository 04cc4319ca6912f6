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
    name: Name | None = Field(None, description="Unique name; without one it is the file's name.")
    task: Text = Field(description="Target task, one of `GET /v1/target-tasks`.")
    spatial_dims: Literal[2, 3] = Field(description="Number of spatial dimensions: 2 for images, 3 for volumes.")
    modality: Text | None = Field(
        None, description="How the images were taken; datasets are listed and compared by it."
    )
    cohort: Text | None = Field(
        None,
        description="Whose images they are; targets of one cohort share images and are never evidence for each "
        "other.",
    )


class DatasetChange(BaseModel):
    """What to change of a dataset; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    uri: Text | None = Field(None, description="Another file, which is then inspected anew; null keeps it.")
    task: Text | None = Field(
        None, description="Another target task, while no ranking and no run names the dataset; null keeps it."
    )
    spatial_dims: Literal[2, 3] | None = Field(
        None,
        description="Another number of spatial dimensions, while no ranking and no run names the dataset; null "
        "keeps it.",
    )
    modality: Text | None = Field(None, description="How the images were taken; null takes it away.")
    cohort: Text | None = Field(None, description="Whose images they are; null takes it away.")


class DatasetOut(BaseModel):
    """A registered dataset; it can be used when `state` is `done`."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(description="Id of the dataset, which begins with ds_ and sorts by creation.")
    name: str = Field(description="Unique name, which can be used instead of the id.")
    uri: str = Field(description="URI of the file as it was registered.")
    task: str = Field(description="Target task that the dataset is for.")
    spatial_dims: int = Field(description="Number of spatial dimensions: 2 for images, 3 for volumes.")
    modality: str | None = Field(description="How the images were taken, as registered.")
    cohort: str | None = Field(description="Whose images they are, as registered.")
    state: WorkState = Field(description="State of the inspection of the file.")
    reason: str | None = Field(description="Reason why the inspection failed; null otherwise.")
    fingerprint: str | None = Field(description="Digest of the content, by which a changed file is noticed.")
    inspection: Inspection | None = Field(
        description="What the worker found in the file; null before the inspection is done."
    )
    created_at: datetime = Field(description="Time at which the dataset was registered.")
