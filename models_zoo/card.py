"""The cards of the catalogue: one TOML file for each published checkpoint."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from models_zoo.errors import ZooError
from models_zoo.normalisation import Normalisation, normalise

__all__ = ["Card", "Normalisation", "Origin", "cards", "normalise"]

CATALOGUE = Path(__file__).parent / "catalogue"
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Origin:
    """Where the weights were published; `sha256` is that file's, before it was reduced to tensors."""

    repository: str
    commit: str
    path: str
    sha256: str


@dataclass(frozen=True)
class Card:
    """A checkpoint's entry; `build(architecture, spatial_dims=spatial_dims, **parameters)` fits it."""

    name: str
    title: str
    architecture: str
    spatial_dims: int
    parameters: Mapping[str, Any]  # in_channels, the source's classes, and the architecture's own
    source_task: str
    source_data: str
    modality: str
    licence: str
    file: str  # the file's name; the weights themselves aren't part of the project
    sha256: str
    origin: Origin
    normalisation: Normalisation
    head: str = "softmax"  # what the head's outputs are; "sigmoid": one foreground probability; "none": no classes
    spacing: tuple[float, ...] = ()  # millimetres of a voxel of the source's images; empty: not known
    note: str = ""


def cards(folder: Path = CATALOGUE) -> dict[str, Card]:
    """Every card in `folder` by name; ZooError names the file and field of a bad one."""
    return {file.stem: _read(file) for file in sorted(folder.glob("*.toml"))}


def _read(file: Path) -> Card:
    try:
        return _card(tomllib.loads(file.read_text(encoding="utf-8")), stem=file.stem)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ZooError(f"{file.name}: is not TOML: {error}") from error
    except ZooError as error:
        raise ZooError(f"{file.name}: {error}") from error


def _card(content: dict[str, Any], *, stem: str) -> Card:
    if content.get("name") != stem:
        raise ZooError(f"name: {content.get('name')!r} must be the file's name, {stem!r}")
    tables = {"origin": Origin, "normalisation": Normalisation}
    parts = {key: _filled(kind, _table(content, key), under=f"{key}.") for key, kind in tables.items()}
    card: Card = _filled(Card, {**content, **parts}, under="")
    for key in ("in_channels", "classes"):
        if not isinstance(_table(content, "parameters").get(key), int):
            raise ZooError(f"parameters.{key}: must be a whole number")
    if len(card.spacing) not in (0, card.spatial_dims) or not all(0 < size < math.inf for size in card.spacing):
        raise ZooError(f"spacing: {card.spacing} must be {card.spatial_dims} sizes in millimetres")
    for key, digest in (("sha256", card.sha256), ("origin.sha256", card.origin.sha256)):
        if not SHA256.fullmatch(digest):
            raise ZooError(f"{key}: {digest!r} is no SHA-256 digest of 64 lower-case hex digits")
    return card


def _table(content: dict[str, Any], key: str) -> dict[str, Any]:
    table = content.get(key)
    if not isinstance(table, dict):
        raise ZooError(f"{key}: must be a table, [{key}]")
    return table


def _filled(kind: type[Any], content: dict[str, Any], *, under: str) -> Any:
    """`kind` made of `content`, after checking that the fields are there, known and of the right type."""
    declared = {field.name: field for field in fields(kind)}
    if unknown := set(content) - set(declared):
        raise ZooError(f"{under}{min(unknown)}: is not a field; use {', '.join(declared)}")
    for name, field in declared.items():
        if name not in content and field.default is MISSING:
            raise ZooError(f"{under}{name}: is missing")
    return kind(**{name: _typed(declared[name].type, value, f"{under}{name}") for name, value in content.items()})


def _typed(annotation: Any, value: Any, name: str) -> Any:
    """`value`, checked when the annotation is one that TOML has; a list of numbers becomes a tuple."""
    plain = {"str": str, "int": int, "bool": bool}.get(annotation)
    if plain and type(value) is not plain:
        raise ZooError(f"{name}: must be of type {plain.__name__}, not {value!r}")
    if plain is str and not value:
        raise ZooError(f"{name}: must not be empty; leave an unneeded field out")
    if annotation != "tuple[float, ...]":
        return value
    if not isinstance(value, list) or not all(type(item) in (int, float) for item in value):
        raise ZooError(f"{name}: must be a list of numbers, not {value!r}")
    return tuple(map(float, value))
