"""/v1/measures and the other things that the workers published that they can do."""

from __future__ import annotations

from typing import Generic, TypeVar

from fastapi import APIRouter
from pydantic import BaseModel, Field

from service.api.errors import READ_PROBLEMS
from service.ledger.flags import OWN
from service.store import capabilities
from service.store.contents import FinetuneProtocol, Protocol
from service.store.published import (
    ARCHITECTURES,
    CARDS,
    DEFAULT,
    FINETUNE_PROTOCOLS,
    FLAGS,
    MEASURES,
    METHODS,
    METRICS,
    PROTOCOL_FIELDS,
    RANKING_PROTOCOLS,
    READERS,
    RECIPES,
    TARGET_TASKS,
    CapabilityKind,
    PublishedArchitecture,
    PublishedCard,
    PublishedFlag,
    PublishedMeasure,
    PublishedMethod,
    PublishedMetric,
    PublishedOption,
    PublishedReader,
    PublishedRecipe,
    PublishedTargetTask,
)
from service.store.session import reading

router = APIRouter(prefix="/v1", tags=["capabilities"])
Content = TypeVar("Content")


class Published(BaseModel, Generic[Content]):
    """What the workers published of one kind; empty until a worker has started."""

    items: dict[str, Content] = Field(description="What the workers published, by name.")


class DefaultProtocols(BaseModel):
    """The default protocols; null until a worker has started."""

    ranking: Protocol | None = Field(None, description="Default protocol of a ranking.")
    finetune: FinetuneProtocol | None = Field(None, description="Default protocol of a finetune run.")


class ProtocolsOut(BaseModel):
    """The default protocols, and what each of their fields may be."""

    items: DefaultProtocols = Field(description="Default protocols of rankings and finetune runs.")
    fields: dict[str, PublishedOption] = Field(description="Meaning and bounds of each field, by name.")


def _published(kind: CapabilityKind[Content]) -> Published[Content]:
    with reading() as session:
        return Published(items=capabilities.of_kind(session, kind))


@router.get("/measures", responses=READ_PROBLEMS)
def list_measures() -> Published[PublishedMeasure]:
    """The measures with their source and the target tasks that they apply to."""
    return _published(MEASURES)


@router.get("/architectures", responses=READ_PROBLEMS)
def list_architectures() -> Published[PublishedArchitecture]:
    """The architectures with their target tasks, dimensions, and parameters with defaults."""
    return _published(ARCHITECTURES)


@router.get("/methods", responses=READ_PROBLEMS)
def list_methods() -> Published[PublishedMethod]:
    """The finetune methods with their options."""
    return _published(METHODS)


@router.get("/recipes", responses=READ_PROBLEMS)
def list_recipes() -> Published[PublishedRecipe]:
    """The pretext recipes with their options."""
    return _published(RECIPES)


@router.get("/catalogue", responses=READ_PROBLEMS)
def list_catalogue() -> Published[PublishedCard]:
    """Cards of known public checkpoints, to register a file of weights by the name of its card."""
    return _published(CARDS)


@router.get("/protocols", responses=READ_PROBLEMS)
def list_protocols() -> ProtocolsOut:
    """The default protocols of rankings and finetune runs, with the bounds of their fields."""
    with reading() as session:
        ranking = capabilities.of_kind(session, RANKING_PROTOCOLS).get(DEFAULT)
        finetune = capabilities.of_kind(session, FINETUNE_PROTOCOLS).get(DEFAULT)
        fields = capabilities.of_kind(session, PROTOCOL_FIELDS)
    return ProtocolsOut(items=DefaultProtocols(ranking=ranking, finetune=finetune), fields=fields)


@router.get("/readers", responses=READ_PROBLEMS)
def list_readers() -> Published[PublishedReader]:
    """The file formats that datasets can be read from."""
    return _published(READERS)


@router.get("/target-tasks", responses=READ_PROBLEMS)
def list_target_tasks() -> Published[PublishedTargetTask]:
    """The target tasks with the labels that they need and the metrics that they are judged by."""
    return _published(TARGET_TASKS)


@router.get("/metrics", responses=READ_PROBLEMS)
def list_metrics() -> Published[PublishedMetric]:
    """The metrics of finetune runs with their direction, unit and range."""
    return _published(METRICS)


@router.get("/flags", responses=READ_PROBLEMS)
def list_flags() -> Published[PublishedFlag]:
    """The flags of scores and lists, with what they say."""
    return Published(items={**_published(FLAGS).items, **OWN})
