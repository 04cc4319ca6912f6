"""Publish what this worker can do, so that the service can validate requests and fill menus."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Any, get_args, get_type_hints

from models_zoo.architecture import architectures
from models_zoo.card import Card, cards
from models_zoo.normalisation import SCALES
from service import jobs
from service.jobs import contents, published
from service.settings import settings
from worker.science.candidate import HEADS
from worker.science.data.readers.registry import readers
from worker.science.flags import Flag, flags
from worker.science.measures.registry import measures
from worker.science.specs import FieldBounds, FinetuneProtocol, protocol_fields
from worker.science.target_tasks.registry import metrics, primary_for, target_tasks, tasks_for
from worker.science.training.method import methods
from worker.science.training.options import Option
from worker.science.training.recipe import recipes
from worker.tasks.contents import default_finetune_protocol, default_protocol, stored_normalisation

_log = logging.getLogger(__name__)
# The type of a value -> its name in what is published.
_TYPES: Mapping[Any, published.OptionType] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "text",
    tuple[int, ...]: "integers",
}


def what_it_can() -> published.Published:
    """Kind of capability -> name -> content."""
    return {
        published.MEASURES.name: _measures(),
        published.METHODS.name: _methods(),
        published.RECIPES.name: _recipes(),
        published.ARCHITECTURES.name: _architectures(),
        published.CARDS.name: {name: _card(card) for name, card in cards().items()},
        published.CARD_FIELDS.name: {
            "head": published.PublishedOption(meaning="Kind of the source head.", choices=HEADS),
            "normalisation.scale": published.PublishedOption(meaning="How images are scaled.", choices=SCALES),
        },
        published.READERS.name: _readers(),
        published.TARGET_TASKS.name: _target_tasks(),
        published.METRICS.name: _metrics(),
        published.FLAGS.name: _flags(),
        published.PROTOCOL_FIELDS.name: _protocol_fields(),
        published.RANKING_PROTOCOLS.name: {published.DEFAULT: default_protocol()},
        published.FINETUNE_PROTOCOLS.name: {published.DEFAULT: default_finetune_protocol()},
    }


def _measures() -> dict[str, published.PublishedMeasure]:
    return {
        measure.name: published.PublishedMeasure(
            title=measure.title,
            source=measure.source,
            tasks=measure.tasks,
            optional=measure.optional,
            usual=measure.usual,
            epochs=measure.epochs,
            grows_with_width=measure.grows_with_width,
            epochs_per_permutation=measure.epochs_per_permutation,
            trust=measure.trust,
        )
        for measure in measures().values()
    }


def _methods() -> dict[str, published.PublishedMethod]:
    return {
        method.name: published.PublishedMethod(
            summary=method.summary, usual=method.usual, options=_options(method.options)
        )
        for method in methods().values()
    }


def _recipes() -> dict[str, published.PublishedRecipe]:
    return {
        recipe.name: published.PublishedRecipe(summary=recipe.summary, options=_options(recipe.options))
        for recipe in recipes().values()
    }


def _options(options: Iterable[Option]) -> dict[str, published.PublishedOption]:
    return {
        option.name: published.PublishedOption(
            meaning=option.meaning,
            type=_TYPES[type(option.default)],
            default=option.default,
            lowest=option.lowest,
            highest=option.highest,
            choices=option.choices or None,
        )
        for option in options
    }


def _architectures() -> dict[str, published.PublishedArchitecture]:
    return {
        architecture.name: published.PublishedArchitecture(
            summary=architecture.summary,
            tasks=tasks_for(architecture.outputs),
            spatial_dims=architecture.spatial_dims,
            parameters={name: _as_json(default) for name, default in architecture.parameters.items()},
        )
        for architecture in architectures().values()
    }


def _as_json(value: Any) -> contents.Value:
    return list(value) if isinstance(value, tuple) else value


def _card(card: Card) -> published.PublishedCard:
    return published.PublishedCard(
        name=card.name,
        title=card.title,
        source_task=card.source_task,
        source_data=card.source_data,
        modality=card.modality,
        licence=card.licence,
        normalisation=stored_normalisation(card.normalisation),
        head=card.head,
        spacing=card.spacing,
        file=card.file,
        sha256=card.sha256,
        origin=published.Origin(
            repository=card.origin.repository,
            commit=card.origin.commit,
            path=card.origin.path,
            sha256=card.origin.sha256,
        ),
        note=card.note,
        architecture=card.architecture,
        parameters=card.parameters,
        spatial_dims=card.spatial_dims,
    )


def _readers() -> dict[str, published.PublishedReader]:
    return {
        reader.name: published.PublishedReader(summary=reader.summary, endings=reader.endings)
        for reader in readers().values()
    }


def _target_tasks() -> dict[str, published.PublishedTargetTask]:
    return {
        task.name: published.PublishedTargetTask(
            summary=task.summary,
            labels=task.field,
            primary_metric=task.primary.name,
            threshold_free_metric=task.threshold_free.name,
        )
        for task in target_tasks().values()
    }


def _metrics() -> dict[str, published.PublishedMetric]:
    return {
        metric.name: published.PublishedMetric(
            meaning=metric.meaning,
            higher_is_better=metric.higher_is_better,
            unit=metric.unit,
            lowest=metric.lowest,
            highest=metric.highest,
            primary_for=primary_for(metric.name),
            preference=metric.preference,
        )
        for metric in metrics().values()
    }


def _flags() -> dict[str, published.PublishedFlag]:
    return {
        flag.name: published.PublishedFlag(
            meaning=flag.meaning,
            may_rank=flag.may_rank,
            differs=flag.differs,
            within_spread=flag.within_spread,
            marks_missing=flag.marks_missing,
            measures=_measures_of(flag),
        )
        for flag in flags().values()
    }


def _measures_of(flag: Flag) -> tuple[str, ...] | None:
    """The measures that a flag of an evaluation or of a list is about; None: it holds whatever is measured."""
    if flag.of_epoch:
        return tuple(measure.name for measure in measures().values() if measure.epochs)
    return tuple(measure.name for measure in measures().values() if flag in measure.list_flags) or None


def _protocol_fields() -> dict[str, published.PublishedOption]:
    meanings = jobs.descriptions(contents.FinetuneProtocol)
    hints = get_type_hints(FinetuneProtocol)
    return {
        name: _bounds(bounds, hints[name], meanings[name])
        for name, bounds in protocol_fields(FinetuneProtocol).items()
    }


def _bounds(bounds: FieldBounds, hint: Any, meaning: str) -> published.PublishedOption:
    kinds = [kind for kind in (get_args(hint) if isinstance(hint, UnionType) else [hint]) if kind is not NoneType]
    return published.PublishedOption(
        meaning=meaning,
        type=_TYPES[kinds[0]],
        default=bounds.default,
        above=bounds.above,
        lowest=bounds.lowest,
        highest=bounds.highest,
        choices=bounds.choices,
        nullable=bounds.nullable,
    )


def publish() -> None:
    """Write it to the database."""
    with jobs.transaction() as session:
        jobs.publish(session, what_it_can())


def publish_until_done() -> None:
    """Write it to the database; while that fails, try again after `ZOORANK_SWEEP_SECONDS`."""
    while True:
        try:
            return publish()
        except Exception as error:
            _log.warning("what this worker can do was not published (%s); it is tried again", type(error).__name__)
            time.sleep(settings().sweep_seconds)
