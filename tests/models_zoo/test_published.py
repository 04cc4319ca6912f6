"""The published W-Net checkpoints, read in place; skipped where the shared folder isn't."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models_zoo.architecture import build
from models_zoo.card import Card, cards
from models_zoo.loading.load import load, read_state_dict, sha256

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
WEIGHTS = SHARED / "checkpoints" / "wnet_small"
DISCS = [name for name in cards() if "disccup" in name]

pytestmark = pytest.mark.skipif(not WEIGHTS.is_dir(), reason="no shared folder beside the repository")


@pytest.mark.parametrize("card", cards().values(), ids=cards())
def test_the_card_describes_the_file_and_its_network(card: Card) -> None:
    assert sha256(WEIGHTS / card.file) == card.sha256
    network = build(card.architecture, spatial_dims=card.spatial_dims, **card.parameters)
    report = load(network, read_state_dict(WEIGHTS / card.file))
    assert report.loaded == report.tensors
    assert all(left.key.startswith("unet2.") for left in report.unused)


@pytest.fixture(scope="module")
def benchmark() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "benchmarks" / "wnet_discs.py"))


@pytest.fixture(scope="module")
def discs(benchmark: dict[str, Any]) -> tuple[Any, Any]:
    read: Callable[[Path], tuple[Any, Any]] = benchmark["read_discs"]
    return read(SHARED)


def test_eight_checkpoints_find_the_disc() -> None:
    assert len(DISCS) == 8


@pytest.mark.parametrize("name", DISCS)
def test_a_disc_checkpoint_finds_discs_it_never_saw(
    name: str, benchmark: dict[str, Any], discs: tuple[Any, Any]
) -> None:
    images, masks = discs
    assert len(images) == 27
    first, second = benchmark["dice_at_both_outputs"](WEIGHTS / f"{name}.pth", images, masks)
    assert first >= 0.87
    assert second >= 0.60
