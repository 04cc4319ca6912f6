"""docs/equations.md and the code name the same functions for the same equations."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path

from worker.science.acnorm import equations

PAGE = Path(__file__).parents[2] / "docs" / "equations.md"
SECTION = re.compile(r"^## (?P<title>.+?) — .+?\n\n`(?P<path>[\w.]+)`$", re.MULTILINE)


def ledger() -> dict[str, str]:
    """Section title, "Eq. 6" or a measure's name -> dotted path of its function."""
    return {found["title"]: found["path"] for found in SECTION.finditer(PAGE.read_text(encoding="utf-8"))}


def resolve(path: str) -> Callable[..., object]:
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)


def test_every_section_names_its_function():
    titles = re.findall(r"^## (.+?) — ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(ledger()) == sorted(titles)
    for path in ledger().values():
        assert inspect.isfunction(resolve(path)), path


def test_sections_and_docstrings_agree():
    listed = {title: path for title, path in ledger().items() if title.startswith("Eq. ")}
    opened = {}
    for name, function in inspect.getmembers(equations, inspect.isfunction):
        if number := re.match(r"Eq\. \d+", function.__doc__ or ""):
            opened.setdefault(number[0], []).append(f"{equations.__name__}.{name}")
    assert opened == {title: [path] for title, path in listed.items()}
    assert set(listed) == {f"Eq. {number}" for number in range(6, 11)}


def test_dotted_names_in_the_text_exist():
    for path in re.findall(r"`(worker\.[\w.]+)`", PAGE.read_text(encoding="utf-8")):
        resolve(path)
