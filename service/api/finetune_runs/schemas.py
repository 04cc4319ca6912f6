"""Finetune runs as they come and go over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from service.api.capabilities.published import FINETUNE_EXAMPLE, FinetuneOverrides
from service.api.names import NamedOut, Reference, Text


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
    protocol: FinetuneOverrides | None = Field(None, description="What shall differ from the default.")


class FinetuneOut(BaseModel):
    """A finetune run, with its result when it is done."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "ft_1a206b1678dde7291ac0b",
                    "dataset": {"id": "ds_1a206a6cd613f71a0109d", "name": "discs"},
                    "checkpoint": {"id": "ck_1a206ab8b1e87ae9c62c8", "name": "vessels"},
                    "ranking": "rk_1a206b36d294932176998",
                    "method": "ac_norm",
                    "protocol": FINETUNE_EXAMPLE,
                    "state": "running",
                    "reason": None,
                    "stage": "epoch",
                    "steps_done": 30,
                    "steps_total": 120,
                    "attempts": 1,
                    "result": None,
                    "network": None,
                    "created_at": "2026-01-31T09:40:00Z",
                    "started_at": "2026-01-31T09:40:01Z",
                    "finished_at": None,
                }
            ]
        }
    )

    id: str = Field(description="Sorts by creation; begins with ft_.")
    dataset: NamedOut = Field(description="The target.")
    checkpoint: NamedOut = Field(description="Where it starts from.")
    ranking: str | None = Field(description="The ranking that asked for it.")
    method: str = Field(description="How it is trained.")
    protocol: dict[str, Any] = Field(description="All that decides the result, in full.")
    state: str = Field(description="queued, running, done, failed or canceled.")
    reason: str | None = Field(description="Why it failed or was canceled.")
    stage: str | None = Field(description="What its worker does now.")
    steps_done: int = Field(description="Of this stage.")
    steps_total: int = Field(description="Of this stage; 0: not known yet.")
    attempts: int = Field(description="How many workers took it; more than one: some died.")
    result: dict[str, Any] | None = Field(description="Metrics on test and validation images, epochs, card.")
    network: str | None = Field(description="Where the finetuned network can be fetched.")
    created_at: datetime = Field(description="When it was requested.")
    started_at: datetime | None = Field(description="When a worker took it last.")
    finished_at: datetime | None = Field(description="When it was over.")
