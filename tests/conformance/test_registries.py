"""Every registry refuses a second thing of a name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from models_zoo import architecture
from models_zoo.architecture import Network
from models_zoo.registry import NameClashError
from worker.science.data.readers import registry as readers
from worker.science.data.target import Target
from worker.science.evidence.parts import Evidence
from worker.science.measures import registry as measures
from worker.science.measures.registry import Score


def second_architecture() -> None:
    @architecture.register(summary="", tasks=("segmentation",), spatial_dims=(2,))
    def unet(*, spatial_dims: int, in_channels: int, classes: int) -> Network:
        raise NotImplementedError


def second_measure() -> None:
    @measures.register(title="impostor", source="")
    def knn(evidence: Evidence) -> Score:
        raise NotImplementedError


def second_reader() -> None:
    @readers.register(endings=(".npz",), summary="")
    def read_npz(path: Path, task: str, spatial_dims: int) -> Target:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("registered", "add_again", "name"),
    [
        (architecture.architectures, second_architecture, "unet"),
        (measures.measures, second_measure, "knn"),
        (readers.readers, second_reader, "npz"),
    ],
    ids=["architecture", "measure", "reader"],
)
def test_a_name_that_is_taken_is_refused(
    registered: Callable[[], dict[str, object]], add_again: Callable[[], None], name: str
) -> None:
    first = registered()[name]
    with pytest.raises(NameClashError, match=f"are named '{name}'; rename one of them"):
        add_again()
    assert registered()[name] is first
