"""Checkpoints as they come and go over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.api.names import Name, Text
from service.store.contents import Preflight, Value
from service.store.tables import WorkState


class CardNormalisation(BaseModel):
    """How the source's images were prepared; belongs to the checkpoint, not to the protocol."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    scale: Text = Field(
        "unit", description="unit: to [0,1] by the value range; zscore: per image; none: as stored."
    )
    mean: list[float] = Field(default_factory=list, description="Per channel, subtracted after scaling.")
    std: list[float] = Field(default_factory=list, description="Per channel, divided by.")

    @model_validator(mode="after")
    def _paired(self) -> CardNormalisation:
        if len(self.mean) != len(self.std) or any(value <= 0 for value in self.std):
            raise ValueError("give as many means as deviations, the deviations positive")
        return self


class CheckpointCard(BaseModel):
    """Where a checkpoint comes from. Further entries are kept as they are."""

    model_config = ConfigDict(extra="allow")

    title: Text | None = Field(None, description="A name for people.")
    source_task: Text | None = Field(None, description="What it was trained for.")
    source_data: Text | None = Field(None, description="What it was trained on.")
    modality: Text | None = Field(None, description="How the source's images were taken.")
    licence: Text | None = Field(None, description="Of the weights, as SPDX names it.")
    normalisation: CardNormalisation = Field(
        default_factory=CardNormalisation, description="How it wants its input."
    )
    head: Text = Field(
        "softmax", description="What its head gives: class scores, one foreground probability, or no classes."
    )


class CheckpointRequest(BaseModel):
    """A file of weights with its architecture and card, or with the name of a published card."""

    model_config = ConfigDict(extra="forbid")

    uri: Text = Field(description="`file://` URI or absolute path inside the configured roots.")
    name: Name | None = Field(None, description="Unique; default: the card's or the file's name.")
    catalogue: Text | None = Field(
        None, description="A card of `GET /v1/catalogue`; then no architecture, parameters or card is given."
    )
    architecture: Text | None = Field(None, description="One of `GET /v1/architectures`.")
    spatial_dims: Literal[2, 3] | None = Field(None, description="2 for images, 3 for volumes.")
    parameters: dict[str, Value] = Field(
        default_factory=dict,
        description="`in_channels`, `classes` (the source's class count) and the architecture's own.",
    )
    card: CheckpointCard = Field(default_factory=CheckpointCard, description="Where it comes from.")

    @model_validator(mode="after")
    def _whole(self) -> CheckpointRequest:
        given = {"architecture", "spatial_dims", "parameters", "card"} & self.model_fields_set
        if self.catalogue and given:
            raise ValueError(f"the catalogue's card decides {', '.join(sorted(given))}; leave that out")
        if not self.catalogue and not (self.architecture and self.spatial_dims):
            raise ValueError("give architecture, spatial_dims and parameters, or a catalogue name")
        return self


class CheckpointOut(BaseModel):
    """A registered checkpoint; usable when `state` is `done`."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(description="Sorts by creation; begins with ck_.")
    name: str = Field(description="Unique; stands for the id everywhere.")
    uri: str = Field(description="As it was registered.")
    architecture: str = Field(description="What code builds its network.")
    parameters: dict[str, Value] = Field(description="What that code is given.")
    card: CheckpointCard = Field(description="Where it comes from, and how it wants its input.")
    state: WorkState = Field(description="queued, running, done, failed: of the preflight.")
    reason: str | None = Field(description="Why the preflight failed.")
    sha256: str | None = Field(description="Of the file: a changed one is noticed.")
    preflight: Preflight | None = Field(description="What loads, what doesn't and why; its norms.")
    created_at: datetime = Field(description="When it was registered.")
