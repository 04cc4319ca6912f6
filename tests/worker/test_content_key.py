"""Scores are reused only where nothing that may change a number is different."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from service.jobs import contents
from service.jobs.claims import Claim
from service.jobs.work import CandidateCheckpoint, EvaluationWork, TargetDataset
from service.store.tables import Evaluation
from worker.science.specs import CandidateSpec, Protocol
from worker.tasks import rankings
from worker.tasks.contents import default_protocol

SPEC = CandidateSpec(Path("/roots/a.safetensors"), "unet", 2, 1, 2)
WORK = EvaluationWork(
    claim=Claim(Evaluation, "ev_1", 1),
    dataset=TargetDataset("file:///roots/d.npz", "segmentation", 2, "0" * 64),
    checkpoint=CandidateCheckpoint("a", "file:///roots/a.safetensors", "unet", {}, contents.Card(), "1" * 64),
    measures=("knn",),
    protocol=default_protocol(),
)


def key(*, spacing: tuple[float, ...] | None = None, **changes: object) -> str:
    spec = replace(SPEC, **changes)  # type: ignore[arg-type]
    return rankings.content_key(WORK, spec, Protocol(), spacing=spacing)


def test_where_the_file_lies_changes_nothing() -> None:
    assert key() == key(path=Path("/roots/b.safetensors"))
    assert key() != key(normalisation={"scale": "zscore"})


def test_another_spacing_of_the_same_voxels_is_another_key() -> None:
    """It decides a flag and the facts, and is not part of the dataset's fingerprint."""
    assert len({key(), key(spacing=(1.0, 1.0)), key(spacing=(3.0, 3.0))}) == 3


def test_another_version_of_torch_is_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key()
    monkeypatch.setattr(torch, "__version__", "9.9.9")
    assert key() != before


def test_another_kind_of_device_is_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key()
    monkeypatch.setattr(rankings, "device", lambda: torch.device("cuda", 0))
    of_first = key()
    monkeypatch.setattr(rankings, "device", lambda: torch.device("cuda", 1))
    assert before != of_first == key()
