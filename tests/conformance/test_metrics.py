"""Every target task declares the metrics that it computes, and says of each which direction is better."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.conformance.stored_labels import IMAGES, SIDE, SPLIT, stored_labels
from worker.science.metrics import LOSS
from worker.science.target_tasks.registry import LabelKind, Labels, Standard, TargetTask, target_tasks

STEPS = 300


def labels_of(task: TargetTask, columns: int | None) -> tuple[Labels, Standard | None]:
    """Checked labels as a file stores them, and what they are standardised by; numbers have 1 or 2 columns."""
    stored = stored_labels(task, columns=columns)
    labels = task.check(task.decode(stored, (IMAGES, 1, SIDE, SIDE)), SPLIT)
    return labels, task.standardise(labels.values) if task.standardise else None


def judged(task: TargetTask, outputs: Tensor, labels: Tensor, standard: Standard | None) -> dict[str, float]:
    """The metrics of two batches."""
    tally = task.tally(outputs.shape[1], standard)
    for batch in (slice(0, 10), slice(10, None)):
        tally.update(outputs[batch], labels[batch])
    return tally.compute().metrics


def random_outputs(task: TargetTask, count: int) -> Tensor:
    shape = (IMAGES, count, SIDE, SIDE) if task.per_voxel else (IMAGES, count)
    return torch.randn(shape, generator=torch.Generator().manual_seed(7))


def fitted(task: TargetTask, outputs: Tensor, labels: Tensor) -> Tensor:
    """Outputs that the task's own loss has pulled towards the labels, starting from these."""
    moved, loss = outputs.clone().requires_grad_(), task.loss()
    optimizer = torch.optim.Adam([moved], lr=0.1)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(moved, labels).backward()
        optimizer.step()
    return moved.detach()


CASES = [
    pytest.param(task, columns, id=name if columns is None else f"{name}-{columns}")
    for name, task in target_tasks().items()
    for columns in ((1, 2) if task.label_kind is LabelKind.NUMBER else (None,))
]


@pytest.mark.parametrize(("task", "columns"), CASES)
def test_the_metrics_computed_are_those_declared(task: TargetTask, columns: int | None) -> None:
    labels, standard = labels_of(task, columns)
    outputs, true = random_outputs(task, len(labels.classes)), task.tensor(labels.values, standard)
    computed = [*judged(task, outputs, true, standard), LOSS.name]
    numbered = {
        f"{metric.name}_{place}": metric.name
        for metric in task.metrics
        if metric.numbered
        for place in range(len(labels.classes))
    }
    assert sorted({numbered.get(name, name) for name in computed}) == sorted(one.name for one in task.metrics)


@pytest.mark.parametrize(("task", "columns"), CASES)
def test_learnt_outputs_are_better_by_every_metric(task: TargetTask, columns: int | None) -> None:
    labels, standard = labels_of(task, columns)
    start, true = random_outputs(task, len(labels.classes)), task.tensor(labels.values, standard)
    learnt = fitted(task, start, true)
    before, after = (
        {**judged(task, outputs, true, standard), LOSS.name: float(task.loss()(outputs, true))}
        for outputs in (start, learnt)
    )
    by_name = {metric.name: metric for metric in task.metrics}
    for name, value in after.items():
        metric = by_name.get(name) or by_name[name.rpartition("_")[0]]
        assert math.isfinite(value)
        assert metric.signed(value) > metric.signed(before[name]), name
        assert metric.lowest is None or metric.lowest <= value, name
        assert metric.highest is None or value <= metric.highest, name
