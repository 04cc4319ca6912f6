"""Checkpoints as they come and go over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.api.capabilities.options import GivenValue
from service.api.names import Name, Text
from service.store.contents import Preflight, Value
from service.store.tables import WorkState

Spacing = list[Annotated[float, Field(gt=0, allow_inf_nan=False)]]


class CardNormalisation(BaseModel):
    """How the source's images were scaled; it belongs to the checkpoint, not to the protocol."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    scale: Text = Field(
        "unit",
        description="unit maps the limits, or without limits the dataset's value range, to 0..1; zscore "
        "standardises each channel of each image; none leaves the values as they are.",
    )
    mean: list[float] = Field(default_factory=list, description="Mean of each channel, subtracted after scaling.")
    std: list[float] = Field(
        default_factory=list, description="Standard deviation of each channel, divided by after scaling."
    )
    clip: list[float] = Field(
        default_factory=list,
        max_length=2,
        description="Lowest and highest value, in the units that images are stored in (Hounsfield units in CT), "
        "that values are limited to before they are scaled.",
    )
    window: list[float] = Field(
        default_factory=list,
        max_length=2,
        description="Level and width of a CT window that values are limited to before they are scaled: from level "
        "- width/2 to level + width/2.",
    )
    percentiles: list[float] = Field(
        default_factory=list,
        max_length=2,
        description="Lower and upper percentile, from 0 to 100, of each channel of each image that values are "
        "limited to before they are scaled.",
    )
    nonzero: bool = Field(
        False,
        description="Whether percentiles and zscore leave out voxels that are stored as 0, which then stay 0, as "
        "the background of a skull-stripped MRI.",
    )

    @model_validator(mode="after")
    def _paired(self) -> CardNormalisation:
        if len(self.mean) != len(self.std) or any(value <= 0 for value in self.std):
            raise ValueError("give as many means as deviations, the deviations positive")
        return self

    @model_validator(mode="after")
    def _limited(self) -> CardNormalisation:
        limits = {"clip": self.clip, "window": self.window, "percentiles": self.percentiles}
        given = {name: values for name, values in limits.items() if values}
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} both limit the values; give one of them")
        if any(len(values) != 2 for values in given.values()):
            raise ValueError(f"{min(given)} takes two numbers")
        if self.clip and not self.clip[0] < self.clip[1]:
            raise ValueError("clip takes the lowest value and then the highest; give them in this order")
        if self.window and not self.window[1] > 0:
            raise ValueError("window takes a level and a width; give a width above 0")
        if self.percentiles and not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ValueError("percentiles are a lower and an upper one; give two rising numbers from 0 to 100")
        if self.nonzero and self.scale != "zscore" and not self.percentiles:
            raise ValueError("nonzero has a meaning for zscore and percentiles; give one of them, or leave it out")
        return self


class CardWords(BaseModel):
    """The entries of a card that are words. Further entries of the user are kept as they are."""

    model_config = ConfigDict(extra="allow")

    title: Text | None = Field(None, description="Name of the checkpoint for people.")
    source_task: Text | None = Field(None, description="Task that the checkpoint was trained for.")
    source_data: Text | None = Field(None, description="Data that the checkpoint was trained on.")
    modality: Text | None = Field(None, description="How the source images were taken.")
    licence: Text | None = Field(None, description="Licence of the weights, as SPDX names it.")


class CheckpointCard(CardWords):
    """Where a checkpoint comes from. Further entries of the user are kept as they are."""

    normalisation: CardNormalisation = Field(
        default_factory=CardNormalisation, description="How the network wants its input scaled."
    )
    head: Text = Field(
        "softmax",
        description="Kind of the source head: softmax for class scores, sigmoid for one foreground output, none "
        "for no classes.",
    )
    spacing: Spacing = Field(
        default_factory=list,
        description="Millimetres of a voxel along each axis of the source's images; empty where it is not known. "
        "Images are not resampled: a candidate whose spacing is not the dataset's is flagged.",
    )


class CardChange(CardWords):
    """Entries of a card that are added or take the place of present ones; an entry that is null is taken away."""

    normalisation: CardNormalisation | None = Field(
        None, description="How the network wants its input scaled, as a whole; null gives the usual way."
    )
    head: Text | None = Field(None, description="Kind of the source head; null gives the usual one, softmax.")
    spacing: Spacing | None = Field(
        None, description="Millimetres of a voxel along each axis of the source's images; null takes them away."
    )


class CheckpointRequest(BaseModel):
    """A file of weights with its architecture and card, or with the name of a published card."""

    model_config = ConfigDict(extra="forbid")

    uri: Text = Field(description="`file://` URI or absolute path of the file, inside the configured roots.")
    name: Name | None = Field(
        None, description="Unique name; without one it is the catalogue card's name, else the file's."
    )
    catalogue: Text | None = Field(
        None,
        description="Name of a card of `GET /v1/catalogue`; then architecture, parameters and card are left out.",
    )
    architecture: Text | None = Field(None, description="Name of an architecture of `GET /v1/architectures`.")
    spatial_dims: Literal[2, 3] | None = Field(
        None, description="Number of spatial dimensions: 2 for images, 3 for volumes."
    )
    parameters: dict[str, GivenValue] = Field(
        default_factory=dict,
        description="Parameters of the architecture, with `in_channels` and the source's number of `classes`.",
    )
    card: CheckpointCard = Field(
        default_factory=CheckpointCard, description="Where the checkpoint comes from and how it wants its input."
    )
    allow_partial: bool = Field(
        False,
        description="Whether a file that does not hold the whole network outside its head is taken nevertheless. "
        "The rest gets random values, and every list shows the checkpoint as partly loaded.",
    )

    @model_validator(mode="after")
    def _whole(self) -> CheckpointRequest:
        given = {"architecture", "spatial_dims", "parameters", "card"} & self.model_fields_set
        if self.catalogue and given:
            raise ValueError(f"the catalogue's card decides {', '.join(sorted(given))}; leave that out")
        if not self.catalogue and not (self.architecture and self.spatial_dims):
            raise ValueError("give architecture, spatial_dims and parameters, or a catalogue name")
        return self


class CheckpointChange(BaseModel):
    """What to change of a checkpoint.

    What is left out or null stays, but an entry of the card that is null is taken away.
    """

    model_config = ConfigDict(extra="forbid")

    uri: Text | None = Field(None, description="Another file of weights, which is then loaded anew.")
    architecture: Text | None = Field(None, description="Another architecture of `GET /v1/architectures`.")
    spatial_dims: Literal[2, 3] | None = Field(
        None, description="Another number of spatial dimensions of the network."
    )
    parameters: dict[str, GivenValue] | None = Field(
        None, description="All parameters of the architecture, in place of the present ones."
    )
    card: CardChange | None = Field(
        None, description="Entries of the card that are added, replaced or, where they are null, taken away."
    )
    allow_partial: bool | None = Field(
        None, description="Whether a file that does not hold the whole network outside its head is taken."
    )


class CheckpointOut(BaseModel):
    """A registered checkpoint; it can be used when `state` is `done`."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(description="Id of the checkpoint, which begins with ck_ and sorts by creation.")
    name: str = Field(description="Unique name, which can be used instead of the id.")
    uri: str = Field(description="URI of the file as it was registered.")
    architecture: str = Field(description="Name of the architecture that builds the network.")
    parameters: dict[str, Value] = Field(description="Parameters that the architecture is built with.")
    card: CheckpointCard = Field(description="Where the checkpoint comes from and how it wants its input.")
    allow_partial: bool = Field(
        description="Whether a file that does not hold the whole network outside its head is taken."
    )
    partly_loaded: bool = Field(
        description="Whether part of the network outside its head has random values instead of the file's."
    )
    percent_loaded: float | None = Field(
        description="Share of the network's numbers outside its head that the file holds, from 0 to 100; null "
        "before the preflight is done."
    )
    state: WorkState = Field(description="State of the preflight, which loads the file.")
    reason: str | None = Field(description="Reason why the preflight failed; null otherwise.")
    sha256: str | None = Field(description="SHA-256 digest of the file, by which a changed one is noticed.")
    preflight: Preflight | None = Field(
        description="What loaded and what did not; null before the preflight is done."
    )
    created_at: datetime = Field(description="Time at which the checkpoint was registered.")
