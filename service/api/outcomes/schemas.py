"""Ledger rows as they come and go over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from service.api.names import Text

MOST_ROWS = 20_000  # of one import
Kind = Literal["outcome", "score"]
LARGEST = 1e100  # so that sums of values stay finite
RowName = Annotated[
    str,
    # A name with a space before or behind it would never be the one that is registered.
    StringConstraints(
        min_length=1, max_length=500, pattern=r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?$"
    ),
]


class OutcomeRow(BaseModel):
    """One outcome or score. Target and candidate are names, whether or not they are registered here."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    target: RowName = Field(description="Name of a dataset, without spaces around it.")
    candidate: RowName = Field(description="Name of a checkpoint, without spaces around it.")
    kind: Kind = Field(description="Whether the row is an outcome of a finetune or a measure's score.")
    name: RowName = Field(description="Name of the metric or the measure.")
    value: Annotated[float, Field(strict=True, ge=-LARGEST, le=LARGEST)] = Field(
        description="Value as it was measured, a finite number."
    )
    higher_is_better: Annotated[bool, Field(strict=True)] = Field(
        description="Whether a higher value is better; false for losses and distances."
    )
    seed: Annotated[int, Field(strict=True, ge=0, le=2**53)] | None = Field(
        None, description="Seed of the finetune run; null where it is not known."
    )
    cohort: Text | None = Field(None, description="Cohort of the target; targets of one cohort share images.")
    modality: Text | None = Field(None, description="Modality of the target's images.")
    task: Text | None = Field(None, description="Target task of the dataset, one of `GET /v1/target-tasks`.")
    source: RowName | None = Field(
        None, description="Where the number comes from; null takes the source of the import."
    )


class OutcomesImport(BaseModel):
    """Rows to add to the ledger, all of them or none."""

    model_config = ConfigDict(extra="forbid")

    source: RowName | None = Field(None, description="Source of the rows that do not name their own.")
    rows: list[OutcomeRow] = Field(
        min_length=1, max_length=MOST_ROWS, description="Outcomes and scores to import, in any order."
    )


class ImportedOut(BaseModel):
    """The numbers of rows that an import added and changed."""

    added: int = Field(description="Number of rows that are new.")
    replaced: int = Field(description="Number of rows that were there with another value.")
    unchanged: int = Field(description="Number of rows that were there already.")


class RemovedOut(BaseModel):
    """The number of rows that were removed from the ledger."""

    removed: int = Field(description="Number of rows that were removed.")


class GroupOut(BaseModel):
    """A comparison group: outcomes of one method, options and protocol without the seed, or of one import."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(description="Id of the group; that of an import is its source.")
    words: str = Field(
        description="Method, options, epochs and what differs from the usual protocol, or where the outcomes were "
        "imported from."
    )


class ExclusionChange(BaseModel):
    """Whether an outcome or a score counts from now on."""

    model_config = ConfigDict(extra="forbid")

    excluded: Annotated[bool, Field(strict=True)] = Field(
        description="Whether the row shall count nowhere; false includes it again."
    )
    reason: Text | None = Field(None, description="Reason for the change, which is kept; required to exclude.")


class ExclusionOut(BaseModel):
    """One change of whether an outcome counts."""

    model_config = ConfigDict(from_attributes=True)

    excluded: bool = Field(description="Whether the row was excluded; if not, it was included again.")
    reason: str | None = Field(description="Reason that was given for the change; null where none was given.")
    at: datetime = Field(description="Time at which the change was made.")


class OutcomeOut(BaseModel):
    """One row of the ledger of outcomes."""

    id: str = Field(description="Id of the row, which begins with lg_ and sorts by creation.")
    target: str = Field(description="Name of the dataset that the row is about.")
    candidate: str = Field(description="Name of the checkpoint that the row is about.")
    kind: Kind = Field(description="Whether the row is an outcome or a score.")
    name: str = Field(description="Name of the metric or the measure.")
    value: float = Field(description="Value as it was measured or imported.")
    higher_is_better: bool = Field(description="Whether a higher value is better; false for losses and distances.")
    seed: int | None = Field(description="Seed of the finetune run; null where it is not known.")
    method: str | None = Field(description="Finetune method of the service's own run; null for imported rows.")
    comparison_group: GroupOut = Field(description="Comparison group that the outcome can be compared in.")
    cohort: str | None = Field(description="Cohort of the target when the row was added.")
    modality: str | None = Field(description="Modality of the target when the row was added.")
    task: str | None = Field(description="Target task of the dataset when the row was added.")
    source: str = Field(description="Where the number comes from; `finetune run` for the service's own runs.")
    finetune_run: str | None = Field(
        description="Id of the finetune run of this service, which may have been removed; null for imported rows."
    )
    excluded: bool = Field(description="Whether the row counts nowhere, since somebody excluded it.")
    exclusions: list[ExclusionOut] = Field(
        description="Times at which the row was excluded and included again, oldest first."
    )
    registered_target: str | None = Field(
        description="Id of the registered dataset of that name; null where there is none."
    )
    registered_candidate: str | None = Field(
        description="Id of the registered checkpoint of that name; null where there is none."
    )
    created_at: datetime = Field(description="Time at which the row was added.")
