"""Evidence made up for the laws of measures."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from worker.science.evidence.parts import Affines, Epoch, Evidence, Features, NullEpochs, SourceHead, Stage
from worker.science.measures.registry import (
    Score,
    evaluate,
    measures,
)
from worker.science.target_tasks.registry import LabelKind, metrics, target_task, target_tasks

MEASURES = measures()
METRICS = {name: round(0.3 + 0.01 * place, 2) for place, name in enumerate(metrics())}  # all of them differ


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def features(
    rows: int = 120, width: int = 12, classes: int = 3, *, spread: float = 1.0, task: str = "classification"
) -> Features:
    """Noise moved by the label: by its class, by two standardised numbers, or by each of three labels."""
    labels, moved = torch.arange(rows) % classes, draw(classes, width, seed=1)
    shift = moved[labels]
    kind = target_task(task).label_kind
    if kind is LabelKind.NUMBER:
        labels = draw(rows, 2, seed=13)
        labels = (labels - labels.mean(0)) / labels.std(0, correction=0)
        shift = labels @ moved[:2]
    elif kind is LabelKind.YES_NO:
        labels = (draw(rows, 3, seed=14) > torch.tensor([0.0, 0.5, -0.5])).long()
        shift = labels.float() @ moved
    values = draw(rows, width) + spread * shift
    return Features(values, labels, torch.arange(rows) // 4, scale=1.7, stage="bottleneck")


def drifted(channels: int = 16, drift: float = 0.1) -> Affines:
    weight, bias = 1 + 0.3 * draw(channels, seed=2), draw(channels, seed=3)
    return Affines(weight, bias, weight.clone(), bias + drift * draw(channels, seed=4))


def null(count: int = 19, channels: int = 16) -> NullEpochs:
    """Repetitions that drifted less than `drifted`, each by another length."""
    repeated = ({"encoder.1": drifted(channels, 0.005 * (number + 1))} for number in range(count))
    return NullEpochs(tuple(repeated), seconds=9.0)


def source_head(seen: Features) -> SourceHead:
    """A head that knows something of the labels, with a class that it never gives."""
    logits = draw(len(seen.labels), 4, seed=11) + 2 * draw(3, 4, seed=12)[seen.labels % 3]
    return SourceHead(torch.cat((logits.double().softmax(1), torch.zeros(len(logits), 1)), 1), seen.labels)


def stage(name: str = "decoder_1", *, images: int = 4, shift: float = 1.0) -> Stage:
    """Two classes and background at 30 voxels each in every image; images differ by `shift`."""
    labels, rows = torch.arange(90).repeat(images) % 3, torch.arange(images).repeat_interleave(90)
    values = draw(len(rows), 6) + draw(3, 6, seed=1)[labels] + shift * draw(images, 6, seed=2)[rows]
    return Stage(name, values, labels, rows, scale=2.0)


def evidence(task: str = "segmentation", **changes) -> Evidence:
    layers = {"encoder.0": drifted(8), "encoder.1": drifted(16)}
    epoch = Epoch((1.0, 0.5), METRICS, seconds=3.0)
    stages = (stage(), stage("decoder_2"))
    parts = Evidence(
        target_task(task),
        features(task=task),
        layers,
        "encoder.1",
        1.0,
        epoch,
        source_head(features()),
        stages,
        null=null(),
    )
    return replace(parts, **changes)


def score(name: str, seen: Evidence) -> Score:
    return evaluate(MEASURES[name], seen)


def finite(found: Score) -> bool:
    return found.value is not None and math.isfinite(found.value)


def constant_column(f: Features) -> Features:
    values = f.values.clone()
    values[:, 0], values[:, 1] = 0.0, 3.0
    return replace(f, values=values)


def duplicate_columns(f: Features) -> Features:
    return replace(f, values=f.values.repeat(1, 2))


def repeated_rows(f: Features) -> Features:
    """Every row twice, with another row's label and group; the rows of one dead image in three are all equal."""
    values = f.values[: len(f.values) // 2].repeat(2, 1)
    values[f.groups % 3 == 0] = 0.5
    return replace(f, values=values)


def singleton_class(f: Features) -> Features:
    """One row of a class, one yes of a label, or one value of a target that is not the others'."""
    labels = f.labels.clone()
    if labels.ndim == 2:
        labels[:, 0] = 0
    labels[0] = 9 if labels.ndim == 1 else 1
    return replace(f, labels=labels)


def fewer_rows(f: Features) -> Features:
    return features(21, 60, task=task_of(f))


def separable(f: Features) -> Features:
    told = torch.nn.functional.one_hot(f.labels) if f.labels.ndim == 1 else f.labels
    return replace(f, values=told.float())


def task_of(f: Features) -> str:
    """A target task whose labels are of the same kind."""
    of_columns = LabelKind.NUMBER if f.labels.is_floating_point() else LabelKind.YES_NO
    kind = LabelKind.CLASS if f.labels.ndim == 1 else of_columns
    return next(name for name, task in target_tasks().items() if task.label_kind is kind)
