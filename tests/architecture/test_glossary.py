"""The glossary is whole: every word names code that exists, and words that are not used are not used."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "glossary.md"
ROW = re.compile(r"^\| (?P<word>[^|]+) \| (?P<meaning>[^|]+) \| `(?P<code>[\w.]+)` \|$", re.MULTILINE)
AVOIDED = re.compile(r"\b(ring|rings|rung|doorbells?)\b", re.IGNORECASE)
READ = ("service", "worker", "models_zoo", "migrations", "docs", "README.md", "CHANGELOG.md")


def resolve(name: str) -> object:
    """The module, class or function of a dotted name."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise AssertionError(f"nothing is named {name}")


def _rows() -> list[re.Match[str]]:
    return list(ROW.finditer(PAGE.read_text(encoding="utf-8")))


def test_every_word_stands_for_code_that_exists() -> None:
    rows = _rows()
    assert len(rows) > 50
    for row in rows:
        assert resolve(row["code"]) is not None, row["word"]


def test_every_meaning_is_a_sentence_and_no_word_stands_twice() -> None:
    words = [word.strip() for row in _rows() for word in row["word"].split(",")]
    assert len(words) == len(set(words))
    for row in _rows():
        assert row["meaning"].strip().endswith("."), row["word"]


def test_words_that_are_not_used_are_not_used() -> None:
    files = [
        path
        for name in READ
        for path in ([ROOT / name] if (ROOT / name).is_file() else sorted((ROOT / name).rglob("*")))
        if path.suffix in (".py", ".md", ".html") and path != PAGE
    ]
    assert len(files) > 150
    used = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if AVOIDED.search(line)
    ]
    assert used == []
