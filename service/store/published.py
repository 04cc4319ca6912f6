"""What workers publish that they can do: one frozen dataclass for each kind of capability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from service.store.contents import CardEntries, FinetuneProtocol, Protocol, Value
from service.store.dict_form import content

Content = TypeVar("Content")
OptionType = Literal["boolean", "integer", "number", "text", "integers"]


@content
class PublishedMeasure:
    """A measure that workers can compute."""

    title: str
    """Name of the measure for people."""
    source: str
    """Paper and equation that the measure comes from."""
    tasks: tuple[str, ...]
    """Target tasks that the measure applies to."""
    optional: bool = False
    """Whether the measure is computed only when a request names it."""
    usual: bool = False
    """Whether this measure orders a list when no measure is trusted."""
    epochs: int | None = None
    """Training epochs that the measure takes, shared with other measures; null where the worker does not say."""
    grows_with_width: bool = False
    """Whether its values grow with the number of features, so that candidates are compared at a common one."""
    epochs_per_permutation: int = 0
    """Training epochs that the measure takes for each permutation of the labels."""
    trust: float = 0.0
    """Weighted tau with outcomes that a published study found; 0 where there is no study."""


@content
class PublishedOption:
    """An option of a method or a recipe, or a field of the protocol."""

    meaning: str = ""
    """What the option decides, in a sentence."""
    type: OptionType = "text"
    """Type of the value: boolean, integer, number, text, or integers for a list of whole numbers."""
    default: Value = None
    """Value that is used when a request does not give one."""
    above: float | None = None
    """Number that the value must be greater than."""
    lowest: float | None = None
    """Smallest number that is accepted."""
    highest: float | None = None
    """Largest number that is accepted."""
    choices: tuple[str, ...] | None = None
    """Texts that are accepted; null means any."""
    nullable: bool = False
    """Whether null is accepted as a value."""


@content
class PublishedMethod:
    """A finetune method that workers know."""

    summary: str
    """What the method does, in short."""
    usual: bool = False
    """Whether the method is used when a request names none."""
    options: Mapping[str, PublishedOption] = field(default_factory=dict)
    """Options of the method, by name."""


@content
class PublishedRecipe:
    """A pretext recipe that workers know."""

    summary: str
    """What the recipe trains, in short."""
    options: Mapping[str, PublishedOption] = field(default_factory=dict)
    """Options of the recipe, by name."""


@content
class PublishedArchitecture:
    """An architecture that workers can build."""

    summary: str
    """What the architecture is, in short."""
    tasks: tuple[str, ...]
    """Target tasks that the architecture has outputs for."""
    spatial_dims: tuple[int, ...]
    """Numbers of spatial dimensions that the architecture is built for."""
    parameters: Mapping[str, Value] = field(default_factory=dict)
    """Parameters of the architecture with their defaults."""


@content
class Origin:
    """Where the weights of a public checkpoint were published."""

    repository: str
    """Repository that the file was published in."""
    commit: str
    """Commit of the repository that holds the file."""
    path: str
    """Path of the file in the repository."""
    sha256: str
    """SHA-256 digest of the published file, before it was reduced to tensors."""


@content
class PublishedCard(CardEntries):
    """A card of a known public checkpoint, with what its network is built with."""

    name: str = ""
    """Name of the card in the catalogue."""
    architecture: str = ""
    """Name of the architecture that the weights fit."""
    parameters: Mapping[str, Value] = field(default_factory=dict)
    """Parameters that the architecture is built with."""
    spatial_dims: int | None = None
    """Number of spatial dimensions of the network."""
    file: str | None = None
    """Usual name of the file of weights."""
    sha256: str | None = None
    """SHA-256 digest that the file of weights must have."""
    origin: Origin | None = None
    """Where the weights of a public checkpoint were published."""
    note: str | None = None
    """Further remarks on the checkpoint for people."""


@content
class PublishedReader:
    """A file format that workers can read datasets from."""

    summary: str
    """What a file of this format must hold."""
    endings: tuple[str, ...] = ()
    """Endings of the names of such files."""


@content
class PublishedTargetTask:
    """A target task that workers know."""

    summary: str
    """What is predicted for an image of the target."""
    labels: str = ""
    """What the dataset's file must hold as labels."""
    primary_metric: str | None = None
    """Metric that a finetune run of this task is judged by."""
    threshold_free_metric: str | None = None
    """Metric of this task that no threshold or scale decides."""


@content
class PublishedMetric:
    """A metric of finetune runs."""

    meaning: str
    """What the metric measures, in a sentence."""
    higher_is_better: bool = True
    """Whether a higher value is better."""
    unit: str = ""
    """Unit that the metric is given in."""
    lowest: float | None = None
    """Lowest value that the metric can have; null where there is no bound."""
    highest: float | None = None
    """Highest value that the metric can have; null where there is no bound."""
    primary_for: tuple[str, ...] = ()
    """Target tasks that are judged by this metric."""
    preference: int | None = None
    """Place among metrics that equally many candidates have outcomes in; the lowest number counts."""


@content
class PublishedFlag:
    """A flag: a warning on how far a score can be trusted."""

    meaning: str
    """What the flag means, in a sentence."""
    may_rank: bool = True
    """Whether a score with this flag may place its candidate in a ranked list."""
    differs: str | None = None
    """Fact of evaluations whose difference between candidates raises the flag for a whole list."""
    within_spread: bool = False
    """Whether a score gets this flag whose spread is above the gap to the next candidate's score."""
    measures: tuple[str, ...] | None = None
    """Measures that the flag is about, so that a list without any of them does not get it; null means any list."""
    marks_missing: bool = False
    """Whether a score that the service derives from the ledger gets this flag where it has no value."""


@dataclass(frozen=True)
class CapabilityKind(Generic[Content]):
    """A kind of capability: its word in the database, and what is published of each."""

    name: str
    content: type[Content]


MEASURES = CapabilityKind("measure", PublishedMeasure)
METHODS = CapabilityKind("method", PublishedMethod)
RECIPES = CapabilityKind("recipe", PublishedRecipe)
ARCHITECTURES = CapabilityKind("architecture", PublishedArchitecture)
CARDS = CapabilityKind("card", PublishedCard)
CARD_FIELDS = CapabilityKind("card_field", PublishedOption)
READERS = CapabilityKind("reader", PublishedReader)
TARGET_TASKS = CapabilityKind("target_task", PublishedTargetTask)
METRICS = CapabilityKind("metric", PublishedMetric)
FLAGS = CapabilityKind("flag", PublishedFlag)
PROTOCOL_FIELDS = CapabilityKind("protocol_field", PublishedOption)
RANKING_PROTOCOLS = CapabilityKind("ranking_protocol", Protocol)
FINETUNE_PROTOCOLS = CapabilityKind("finetune_protocol", FinetuneProtocol)
DEFAULT = "default"  # name of the one entry of the last two kinds

Published = Mapping[str, Mapping[str, object]]  # word of a kind -> name -> content
