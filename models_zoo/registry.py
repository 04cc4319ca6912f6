"""Registries: things of one kind by name, each added by the file that defines it."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NameClashError(Exception):
    """Two things of one kind have the same name."""


class Registry(Generic[Item]):
    """Things of one kind by name, found by importing every module of the packages that define them.

    `kind` is the word for one of them in messages; the packages to scan are given by their dotted paths.
    """

    def __init__(self, kind: str, package: str, *more_packages: str) -> None:
        self.kind = kind
        self.packages = (package, *more_packages)
        self._items: dict[str, Item] = {}

    def add(self, name: str, item: Item) -> Item:
        """Register `item` under `name` and return it; NameClashError when the name is taken."""
        if name in self._items:
            raise NameClashError(f"two {self.kind}s are named {name!r}; rename one of them")
        self._items[name] = item
        return item

    def all(self) -> dict[str, Item]:
        """Every registered item by name, after importing all modules of the packages."""
        for path in self.packages:
            for module in pkgutil.iter_modules(importlib.import_module(path).__path__):
                importlib.import_module(f"{path}.{module.name}")
        return dict(self._items)
