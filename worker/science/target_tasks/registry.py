"""What a target task is, and how one file adds one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models_zoo.architecture import Outputs
from models_zoo.registry import NameClashError, Registry
from worker.science.errors import ScienceError
from worker.science.metrics import LOSS, Metric
from worker.science.target_tasks.tally import Tally

Loss = Callable[[Tensor, Tensor], Tensor]


class LabelKind(StrEnum):
    """What one label is: the number of a class, real numbers, or answers of yes or no."""

    CLASS = "class"
    NUMBER = "number"
    YES_NO = "yes_no"


@dataclass(frozen=True)
class Standard:
    """Mean and standard deviation of each target over the training images, each (T,)."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values (N, T) less the mean, over the deviation."""
        standardised: NDArray[np.float64] = (values - self.mean) / self.deviation
        return standardised


@dataclass(frozen=True)
class Labels:
    """Checked labels of every image, with the class or column that each output of a network stands for."""

    values: NDArray[Any]
    classes: tuple[int, ...]
    warnings: list[str]


@dataclass(frozen=True)
class ClassShare:
    """How many images or voxels have one class or label, and their share of all."""

    label: int
    count: int
    share: float


@dataclass(frozen=True)
class ColumnSummary:
    """The values of one column of labels over all images, in the file's units."""

    column: int
    lowest: float
    mean: float
    deviation: float
    highest: float


@dataclass(frozen=True)
class LabelSummary:
    """What the labels of a dataset are: shares of classes, or values of columns."""

    classes: tuple[ClassShare, ...] | None = None
    targets: tuple[ColumnSummary, ...] | None = None


@dataclass(frozen=True)
class TargetTask:
    """A registered target task: data and functions, the same for every reader, measure and training.

    decode(stored, shape): the labels as they are used, from the file's array and the images' shape (N, C, *space).
    check(labels, split): labels with their classes and warnings; ScienceError where there is nothing to learn.
    describe(labels, classes): the inspection's summary of the labels.
    standardise(labels): what labels are standardised by, from those of the training images; None: they stay as
    they are.
    tensor(labels, standard): the labels of a batch as the loss takes them.
    tally(outputs, standard): an empty tally for a network of so many outputs.
    """

    name: str
    summary: str
    field: str  # the array of the file that holds the labels
    label_kind: LabelKind
    outputs: Outputs
    head: str  # what a delivered network's outputs are, as a card's `head`
    primary: Metric  # what a validation epoch is judged by
    threshold_free: Metric  # a companion that no threshold or scale decides
    further_metrics: tuple[Metric, ...]
    decode: Callable[[NDArray[Any], tuple[int, ...]], NDArray[Any]]
    check: Callable[[NDArray[Any], NDArray[np.str_]], Labels]
    describe: Callable[[NDArray[Any], tuple[int, ...]], LabelSummary]
    tensor: Callable[[NDArray[Any], Standard | None], Tensor]
    loss: Callable[[], Loss]
    tally: Callable[[int, Standard | None], Tally]
    standardise: Callable[[NDArray[Any]], Standard] | None = None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Every metric that a validation reports."""
        return (self.primary, self.threshold_free, *self.further_metrics, LOSS)

    @property
    def per_voxel(self) -> bool:
        """Whether there is a label for every voxel, and not one for every image."""
        return self.outputs is Outputs.VOXEL


_REGISTERED: Registry[TargetTask] = Registry("target task", "worker.science.target_tasks")


def register(task: TargetTask) -> TargetTask:
    """Add a target task under its name."""
    return _REGISTERED.add(task.name, task)


def target_tasks() -> dict[str, TargetTask]:
    """Every registered target task by name, ordered by what a label is (scans `worker.science.target_tasks`)."""
    kinds = list(LabelKind)
    tasks = sorted(_REGISTERED.all().values(), key=lambda task: (kinds.index(task.label_kind), task.name))
    return {task.name: task for task in tasks}


def target_task(name: str) -> TargetTask:
    """The target task of this name; ScienceError when there is none."""
    tasks = target_tasks()
    if name not in tasks:
        raise ScienceError(f"task: {name!r} is not known; use one of {', '.join(tasks)}")
    return tasks[name]


def tasks_for(outputs: Outputs) -> tuple[str, ...]:
    """Names of the target tasks that an architecture with these outputs can be used for."""
    return tuple(task.name for task in target_tasks().values() if task.outputs is outputs)


def metrics() -> dict[str, Metric]:
    """Every metric of every target task by name; NameClashError when two tasks mean different things by a name."""
    by_name: dict[str, Metric] = {}
    for task in target_tasks().values():
        for declared in task.metrics:
            if by_name.setdefault(declared.name, declared) != declared:
                raise NameClashError(f"two metrics are named {declared.name!r}; rename that of {task.name}")
    return by_name


def metric(name: str) -> Metric:
    """The metric of this name, the numbered one of a single target included; ScienceError when there is none."""
    declared = metrics()
    if name in declared:
        return declared[name]
    stem, _, number = name.rpartition("_")
    if number.isdecimal() and stem in declared and declared[stem].numbered:
        return replace(declared[stem], name=name, numbered=False)
    raise ScienceError(f"metric: {name!r} is not known; use one of {', '.join(declared)}")


def primary_for(name: str) -> tuple[str, ...]:
    """Names of the target tasks whose primary metric this is."""
    return tuple(task.name for task in target_tasks().values() if task.primary.name == name)
