"""Finetune runs as they come and go over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from service.dependencies import Reference, Text
from service.published import FinetuneOverrides


class FinetuneRequest(BaseModel):
    """Which checkpoint shall be finetuned on which dataset, and how."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"dataset": "discs", "checkpoint": "vessels", "protocol": {"epochs": 40}}]
        },
    )

    dataset: Reference
    checkpoint: Reference
    method: Text = Field("ac_norm", description="One of `GET /v1/methods`.")
    protocol: FinetuneOverrides | None = None


class ReferredOut(BaseModel):
    """What a run refers to."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str


class FinetuneOut(BaseModel):
    """A finetune run, with its result when it is done."""

    id: str
    dataset: ReferredOut
    checkpoint: ReferredOut
    ranking: str | None = Field(description="The ranking that asked for it.")
    method: str
    protocol: dict[str, Any]
    state: str
    reason: str | None
    stage: str | None
    steps_done: int
    steps_total: int
    attempts: int
    result: dict[str, Any] | None = Field(description="Metrics on test and validation images, epochs, card.")
    network: str | None = Field(description="Where the finetuned network can be fetched.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
