"""Reading cards: a good one, and the file and field of every bad one."""

from __future__ import annotations

from pathlib import Path

import pytest

from models_zoo.card import CATALOGUE, Normalisation, cards
from models_zoo.errors import ZooError

GOOD = (CATALOGUE / "neuroczy_wnet_hrf.toml").read_text(encoding="utf-8").replace("neuroczy_wnet_hrf", "card")


def written(folder: Path, text: str) -> Path:
    (folder / "card.toml").write_text(text, encoding="utf-8")
    return folder


def test_a_card_is_read_with_its_tables(tmp_path: Path) -> None:
    text = GOOD.replace('scale = "unit"', 'scale = "unit"\nmean = [0, 0.5, 1]\nstd = [1, 2, 3]')
    card = cards(written(tmp_path, text))["card"]
    assert card.parameters == {"in_channels": 3, "classes": 1, "layers": [8, 16, 32]}
    assert card.origin.repository == "neuroczy/lwnet"
    assert card.normalisation == Normalisation("unit", mean=(0.0, 0.5, 1.0), std=(1.0, 2.0, 3.0))
    assert card.note == ""


def test_a_card_can_limit_values(tmp_path: Path) -> None:
    text = GOOD.replace('scale = "unit"', 'scale = "zscore"\npercentiles = [0.5, 99.5]\nnonzero = true')
    card = cards(written(tmp_path, text))["card"]
    assert card.normalisation == Normalisation("zscore", percentiles=(0.5, 99.5), nonzero=True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "card"', 'name = "other"', "name: 'other' must be the file's name"),
        ('licence = "MIT"', "", "licence: is missing"),
        ('licence = "MIT"', 'licence = ""', "licence: must not be empty"),
        ('licence = "MIT"', 'license = "MIT"', "license: is not a field"),
        ("spatial_dims = 2", 'spatial_dims = "2"', "spatial_dims: must be of type int"),
        ("[normalisation]", "[normalization]", "normalisation: must be a table"),
        ('scale = "unit"', 'scale = "half"', r"normalisation\.scale: 'half'"),
        ('scale = "unit"', 'scale = "unit"\nmean = 3', r"normalisation\.mean: must be a list"),
        ('scale = "unit"', 'scale = "unit"\nmean = ["a"]', r"normalisation\.mean: must be a list"),
        ('scale = "unit"', 'scale = "unit"\nwindow = [40]', r"normalisation\.window: .* two finite numbers"),
        ('scale = "unit"', 'scale = "unit"\nnonzero = 1', r"normalisation\.nonzero: must be of type bool"),
        ("[parameters]", "spacing = [1.0]\n[parameters]", r"spacing: \(1\.0,\) must be 2 sizes in millimetres"),
        ('sha256 = "36ea', 'sha256 = "36EA', "sha256: .* no SHA-256"),
        ('sha256 = "8222', 'sha256 = "822', r"origin\.sha256: .* no SHA-256"),
        ("classes = 1", "", r"parameters\.classes: must be a whole number"),
        ("[parameters]", "[parameters", "is not TOML"),
    ],
)
def test_a_bad_card_is_named_with_its_field(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert GOOD.count(old) == 1
    with pytest.raises(ZooError, match=rf"^card\.toml: {message}"):
        cards(written(tmp_path, GOOD.replace(old, new)))


def test_a_binary_file_in_the_catalogue_is_named(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ZooError, match=r"^card\.toml: is not TOML"):
        cards(tmp_path)
