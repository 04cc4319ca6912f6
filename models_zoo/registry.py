"""Registries: things of one kind by name, each added by the file that defines it."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NameClashError(Exception):
    """Two things of one kind have the same name."""


class Registry(Generic[Item]):
    """Things of one kind by name, found by importing every module of one package.

    `kind` is the word for one of them in messages; `package` is the dotted path of the package to scan.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._items: dict[str, Item] = {}

    def add(self, name: str, item: Item) -> Item:
        """Register `item` under `name` and return it; NameClashError when the name is taken."""
        if name in self._items:
            raise NameClashError(f"two {self.kind}s are named {name!r}; rename one of them")
        self._items[name] = item
        return item

    def all(self) -> dict[str, Item]:
        """Every registered item by name, after importing all modules of the package."""
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self.package}.{module.name}")
        return dict(self._items)
