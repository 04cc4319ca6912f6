"""What the workers published that they can do, and the protocol that follows from it and the request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.api.errors import InvalidError, UnavailableError
from service.api.names import Text
from service.store import capabilities
from service.store.session import Session
from service.store.tables import Json

PROTOCOL_EXAMPLE: Json = {
    "optimizer": "adam",
    "learning_rate": 0.001,
    "weight_decay": 0.0,
    "batch_size": 4,
    "crop": None,
    "steps": None,
    "seed": 0,
    "voxels_per_class": 200,
    "voxels_total": 20_000,
    "stage": None,
    "threads": 1,
    "temperature": 1.0,
    "precision": "float32",
    "null_permutations": 19,
}
FINETUNE_EXAMPLE: Json = {**PROTOCOL_EXAMPLE, "epochs": 20, "patience": 5}
Crop = Annotated[list[Annotated[int, Field(ge=8, le=100_000)]], Field(min_length=2, max_length=3)]


class ProtocolOverrides(BaseModel):
    """What shall differ from the default protocol (`GET /v1/protocols`); equal for all candidates."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    optimizer: Literal["adam", "sgd"] | None = Field(None, description="What takes the training steps.")
    learning_rate: float | None = Field(
        None, gt=0, le=1e30, description="Of the optimizer, the same for all weights."
    )
    weight_decay: float | None = Field(None, ge=0, le=1e6, description="Of the optimizer.")
    batch_size: int | None = Field(None, ge=2, le=100_000, description="Images a step; normalisation needs two.")
    crop: Crop | None = Field(
        None,
        description="Voxels an axis of the seeded crop; null: whole images in 2D, at most 96 voxels a side in 3D.",
    )
    steps: int | None = Field(None, ge=1, le=10_000_000, description="Training steps; null: one whole epoch.")
    seed: int | None = Field(
        None, ge=0, le=2**32 - 1, description="Of the order, the crops, the new head and the drawn voxels."
    )
    voxels_per_class: int | None = Field(None, ge=1, le=10_000_000, description="Drawn per class and image.")
    voxels_total: int | None = Field(
        None, ge=1, le=10_000_000, description="At most so many are drawn in all for the features."
    )
    stage: Text | None = Field(None, description="Feature stage; null: the task's usual one.")
    threads: int | None = Field(None, ge=1, le=1024, description="CPU threads; they change the numbers.")
    temperature: float | None = Field(None, ge=1e-6, le=1e6, description="Of Eq. 7 of AC-Norm.")
    precision: Literal["float32", "mixed"] | None = Field(None, description="float32, or mixed on a GPU.")
    null_permutations: int | None = Field(
        None,
        ge=2,
        le=999,
        description="Epochs on permuted labels a candidate, for measures that need them (ac_corr_null); a z-score "
        "takes two, p can reach 0.05 with 19.",
    )


class FinetuneOverrides(ProtocolOverrides):
    """What shall differ from the default finetune protocol."""

    epochs: int | None = Field(None, ge=1, le=100_000, description="At most this many.")
    patience: int | None = Field(None, ge=1, le=100_000, description="Epochs without a better validation metric.")


_NULLABLE = {"crop", "steps", "stage"}


def published(session: Session, kind: str) -> dict[str, Json]:
    """Everything published of one kind; UnavailableError when no worker has published yet."""
    found = capabilities.of_kind(session, kind)
    if not found:
        raise UnavailableError(
            f"no worker has published any {kind} yet",
            remedy="the worker is still starting (try again in a few seconds), or start one: `zoorank worker`, or "
            "`zoorank serve` which has one",
        )
    return found


def usual(session: Session, kind: str) -> str:
    """The name of the published entry of this kind that is used unless a request names another."""
    entries = published(session, kind)
    return next((name for name, body in entries.items() if body.get("usual")), next(iter(entries)))


def protocol_of(
    session: Session,
    name: Literal["ranking", "finetune"],
    overrides: ProtocolOverrides | None,
    *,
    dims: int,
    field: str,
    after: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The published defaults with the overrides, which `field` holds; `dims` are the dataset's.

    `after` is the protocol of the ranking that asks for finetune runs: it is theirs too, but for its `steps`,
    since a finetune run's epochs are whole ones.
    """
    defaults = published(session, "protocol")[name]
    asked = overrides.model_dump(exclude_unset=True) if overrides else {}
    for key, value in asked.items():
        if value is None and key not in _NULLABLE:
            raise InvalidError(
                f"{key} can't be null", field=f"{field}.{key}", remedy="leave it out to get the default"
            )
        if key not in defaults:
            raise InvalidError(
                f"the workers' {name} protocol has no {key}",
                field=f"{field}.{key}",
                remedy=f"use one of: {', '.join(sorted(defaults))}",
            )
    if asked.get("crop") and len(asked["crop"]) != dims:
        raise InvalidError(
            f"the crop has {len(asked['crop'])} axes, the dataset {dims}",
            field=f"{field}.crop",
            remedy=f"give {dims} integers",
        )
    shared = {key: value for key, value in (after or {}).items() if key in defaults and key != "steps"}
    return {**defaults, **shared, **asked}
