"""The dict form of typed contents: what a JSON column holds, with a version."""

from __future__ import annotations

import ast
import inspect
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import Any, TypeVar, dataclass_transform

from pydantic import TypeAdapter

VERSION = 1
Kind = TypeVar("Kind")
Json = dict[str, Any]


@dataclass_transform(frozen_default=True)
def content(kind: type[Kind]) -> type[Kind]:
    """Make a class a frozen dataclass whose fields are described by the docstrings below them.

    Pydantic's `use_attribute_docstrings` is not enough: it leaves inherited fields without a description.
    """
    made = dataclass(frozen=True)(kind)
    described = _field_docstrings(kind)
    for declared in fields(made):  # type: ignore[arg-type]
        if declared.name in described:
            declared.metadata = MappingProxyType({**declared.metadata, "description": described[declared.name]})
    return made


def _field_docstrings(kind: type[Any]) -> dict[str, str]:
    """Field -> the docstring below it, for the fields that the class itself declares."""
    return {
        declared.target.id: described.value.value
        for declared, described in pairwise(_class_bodies(kind.__module__)[kind.__name__])
        if isinstance(declared, ast.AnnAssign)
        and isinstance(declared.target, ast.Name)
        and isinstance(described, ast.Expr)
        and isinstance(described.value, ast.Constant)
        and isinstance(described.value.value, str)
    }


@lru_cache
def _class_bodies(module: str) -> dict[str, list[ast.stmt]]:
    """Class -> its statements, for every class of a module that is being imported."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node.body for node in tree.body if isinstance(node, ast.ClassDef)}


def descriptions(kind: type[Any]) -> dict[str, str]:
    """Field -> its description, for every field of a content."""
    return {declared.name: declared.metadata["description"] for declared in fields(kind)}


@lru_cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def read(kind: type[Kind], form: Mapping[str, Any]) -> Kind:
    """The content that a dict form holds; entries that this version does not know are left out."""
    values = {key: value for key, value in form.items() if key != "version"}
    content: Kind = _adapter(kind).validate_python(values)  # type: ignore[arg-type]
    return content


def plain(content: object) -> Json:
    """A content as JSON values, without the version."""
    values: Json = _adapter(type(content)).dump_python(content, mode="json", warnings=False)  # type: ignore[arg-type]
    return values


def stored(content: object) -> Json:
    """The dict form of a content, as every database can hold it; ValueError when it could not be read again."""
    form: Json = storable({**plain(content), "version": VERSION})
    read(type(content), form)
    return form


def check_storable(value: object) -> None:
    """ValueError when `value` is a content that could not be read again from its column."""
    if is_dataclass(value):
        stored(value)


def storable(value: Any) -> Any:
    """The same value with None for NaN and infinity, and text without NUL and lone surrogates."""
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return storable_text(value) if isinstance(value, str) else value


def storable_text(value: str) -> str:
    """Text that UTF-8 and every database can hold."""
    return value.encode("utf-8", "replace").decode().replace("\0", "?")
