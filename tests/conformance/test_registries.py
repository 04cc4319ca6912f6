"""Every registry refuses a second thing of a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from models_zoo import architecture
from models_zoo.architecture import Network, Outputs
from models_zoo.registry import NameClashError
from worker.science import flags
from worker.science.data.raw_target import RawTarget
from worker.science.data.readers import registry as readers
from worker.science.evidence.parts import Evidence
from worker.science.measures import registry as measures
from worker.science.measures.registry import DEGENERATE, Score
from worker.science.target_tasks import registry as target_tasks
from worker.science.target_tasks.registry import TargetTask
from worker.science.target_tasks.regression import REGRESSION


def second_architecture() -> None:
    @architecture.register(summary="", outputs=Outputs.VOXEL, spatial_dims=(2,))
    def unet(*, spatial_dims: int, in_channels: int, classes: int) -> Network:
        raise NotImplementedError


def second_measure() -> None:
    @measures.register(title="impostor", source="")
    def knn(evidence: Evidence) -> Score:
        raise NotImplementedError


def second_reader() -> None:
    @readers.register(endings=(".npz",), summary="")
    def read_npz(path: Path, task: TargetTask) -> RawTarget:
        raise NotImplementedError


def second_flag() -> None:
    flags.register(replace(DEGENERATE, meaning="Another meaning of the same name."))


def second_target_task() -> None:
    target_tasks.register(REGRESSION)


@pytest.mark.parametrize(
    ("registered", "add_again", "name"),
    [
        (architecture.architectures, second_architecture, "unet"),
        (measures.measures, second_measure, "knn"),
        (readers.readers, second_reader, "npz"),
        (flags.flags, second_flag, "degenerate"),
        (target_tasks.target_tasks, second_target_task, "regression"),
    ],
    ids=["architecture", "measure", "reader", "flag", "target task"],
)
def test_a_name_that_is_taken_is_refused(
    registered: Callable[[], dict[str, object]], add_again: Callable[[], None], name: str
) -> None:
    first = registered()[name]
    with pytest.raises(NameClashError, match=f"are named '{name}'; rename one of them"):
        add_again()
    assert registered()[name] is first
