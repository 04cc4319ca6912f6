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
    """One outcome or score. Target and candidate are names, whether or not there is anything of that name here."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    target: RowName = Field(description="A dataset's name, without spaces around it.")
    candidate: RowName = Field(description="A checkpoint's name, without spaces around it.")
    kind: Kind = Field(description="An outcome of a finetune, or a measure's score.")
    name: RowName = Field(description="The metric, or the measure.")
    value: Annotated[float, Field(strict=True, ge=-LARGEST, le=LARGEST)] = Field(description="A finite number.")
    higher_is_better: Annotated[bool, Field(strict=True)] = Field(description="false for losses and distances.")
    seed: Annotated[int, Field(strict=True, ge=0, le=2**53)] | None = Field(None, description="Of the run.")
    cohort: Text | None = Field(None, description="Targets of one cohort share images.")
    modality: Text | None = Field(None, description="Of the target.")
    task: Text | None = Field(None, description="Of the target.")
    source: RowName | None = Field(None, description="Where the number comes from; default: the import's.")


class OutcomesImport(BaseModel):
    """Rows to add; all of them, or none."""

    model_config = ConfigDict(extra="forbid")

    source: RowName | None = Field(None, description="Where the rows come from that don't say so themselves.")
    rows: list[OutcomeRow] = Field(min_length=1, max_length=MOST_ROWS, description="In any order.")


class ImportedOut(BaseModel):
    """What an import changed."""

    added: int = Field(description="New rows.")
    replaced: int = Field(description="Rows that were there and said something else.")
    unchanged: int = Field(description="Rows that were there already.")


class RemovedOut(BaseModel):
    """What was taken back."""

    removed: int = Field(description="Rows.")


class OutcomeOut(BaseModel):
    """One row of the ledger."""

    id: str = Field(description="Sorts by creation; begins with lg_.")
    target: str = Field(description="A dataset's name.")
    candidate: str = Field(description="A checkpoint's name.")
    kind: Kind = Field(description="outcome or score.")
    name: str = Field(description="The metric, or the measure.")
    value: float = Field(description="As it was measured.")
    higher_is_better: bool = Field(description="false for losses and distances.")
    seed: int | None = Field(description="Of the run.")
    method: str | None = Field(description="Of an own finetune run.")
    course: str = Field(description="Equal for outcomes that compare: method and protocol, or import.")
    cohort: str | None = Field(description="As it was when the row was added.")
    modality: str | None = Field(description="As it was when the row was added.")
    task: str | None = Field(description="As it was when the row was added.")
    source: str = Field(description="Where the number comes from.")
    finetune_run: str | None = Field(description="The own run that it is the outcome of.")
    registered_target: str | None = Field(description="The dataset of that name, if there is one.")
    registered_candidate: str | None = Field(description="The checkpoint of that name, if there is one.")
    created_at: datetime = Field(description="When the row was added.")
