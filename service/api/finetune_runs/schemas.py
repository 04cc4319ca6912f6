"""Finetune runs as they come and go over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service.api.capabilities.options import GivenValue
from service.api.names import NamedOut, Reference, SourceOut, Text
from service.store.contents import FinetuneProtocol, FinetuneResult, Value
from service.store.tables import WorkState


class FinetuneRequest(BaseModel):
    """Which checkpoint to finetune on which dataset, and how."""

    model_config = ConfigDict(extra="forbid")

    dataset: Reference
    checkpoint: Reference
    method: Text | None = Field(
        None, description="Finetune method of `GET /v1/methods`; null takes the usual one."
    )
    options: dict[str, GivenValue] = Field(
        default_factory=dict, description="Options of the method that differ from their defaults."
    )
    protocol: dict[str, GivenValue] | None = Field(
        None, description="Fields of the protocol that differ from the default (`GET /v1/protocols`)."
    )
    record_outcome: Annotated[bool, Field(strict=True)] = Field(
        True,
        description="Whether the test metrics of the run enter the ledger; false is for trials that shall teach "
        "nothing.",
    )
    note: Text | None = Field(None, description="Your own words about the run; they change nothing in it.")


class FinetuneChange(BaseModel):
    """What can be changed of a finetune run; its dataset, checkpoint and protocol stay as they were requested."""

    model_config = ConfigDict(extra="forbid")

    note: Text | None = Field(description="Your own words about the run; null takes them away.")


class FinetuneOut(BaseModel):
    """A finetune run, with its result when it is done."""

    id: str = Field(description="Id of the run, which begins with ft_ and sorts by creation.")
    dataset: NamedOut = Field(description="Dataset that the checkpoint is finetuned on.")
    checkpoint: SourceOut = Field(description="Checkpoint that the training starts from.")
    ranking: str | None = Field(description="Id of the ranking that asked for the run; null where none did.")
    method: str = Field(description="Name of the finetune method.")
    options: dict[str, Value] = Field(description="Options of the method that were given.")
    protocol: FinetuneProtocol = Field(description="Protocol of the run in full.")
    record_outcome: bool = Field(description="Whether the test metrics of the run enter the ledger.")
    note: str | None = Field(description="The user's own words about the run; null where there are none.")
    state: WorkState = Field(description="State of the finetune run.")
    reason: str | None = Field(description="Reason why the run failed or was canceled; null otherwise.")
    stage: str | None = Field(description="Phase of the job that its worker is in; null where none works on it.")
    steps_done: int = Field(description="Number of steps of this phase that are done.")
    steps_total: int = Field(description="Number of steps of this phase; 0 where it is not known yet.")
    attempts: int = Field(description="Number of workers that took the run; more than one means that some died.")
    result: FinetuneResult | None = Field(
        description="Metrics, epochs and the network's card; null before the run is done."
    )
    network: str | None = Field(
        description="Path at which the finetuned network can be fetched; null before the run is done."
    )
    created_at: datetime = Field(description="Time at which the run was requested.")
    started_at: datetime | None = Field(description="Time at which a worker took the run last; null before.")
    finished_at: datetime | None = Field(description="Time at which the run ended; null before.")
