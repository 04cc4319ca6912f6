"""Finetune runs as they come and go over HTTP."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from service.api.names import NamedOut, Reference, Text
from service.store.contents import FinetuneProtocol, FinetuneResult, Value
from service.store.tables import WorkState


class FinetuneRequest(BaseModel):
    """Which checkpoint shall be finetuned on which dataset, and how."""

    model_config = ConfigDict(extra="forbid")

    dataset: Reference
    checkpoint: Reference
    method: Text | None = Field(None, description="One of `GET /v1/methods`; null takes the usual one.")
    options: dict[str, Value] = Field(default_factory=dict, description="Options of the method, by name.")
    protocol: dict[str, Value] | None = Field(None, description="What shall differ from the default.")


class FinetuneOut(BaseModel):
    """A finetune run, with its result when it is done."""

    id: str = Field(description="Sorts by creation; begins with ft_.")
    dataset: NamedOut = Field(description="The target.")
    checkpoint: NamedOut = Field(description="Where it starts from.")
    ranking: str | None = Field(description="The ranking that asked for it.")
    method: str = Field(description="How it is trained.")
    options: dict[str, Value] = Field(description="Options of the method that were asked for.")
    protocol: FinetuneProtocol = Field(description="All that decides the result, in full.")
    state: WorkState = Field(description="queued, running, done, failed or canceled.")
    reason: str | None = Field(description="Why it failed or was canceled.")
    stage: str | None = Field(description="What its worker does now.")
    steps_done: int = Field(description="Of this stage.")
    steps_total: int = Field(description="Of this stage; 0: not known yet.")
    attempts: int = Field(description="How many workers took it; more than one: some died.")
    result: FinetuneResult | None = Field(description="Metrics on test and validation images, epochs, card.")
    network: str | None = Field(description="Where the finetuned network can be fetched.")
    created_at: datetime = Field(description="When it was requested.")
    started_at: datetime | None = Field(description="When a worker took it last.")
    finished_at: datetime | None = Field(description="When it was over.")
