"""Long rows of outcomes and scores from a CSV or JSON file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]

REQUIRED = ("target", "candidate", "kind", "name", "value", "higher_is_better")
OPTIONAL = ("seed", "cohort", "modality", "task", "source")
_YES, _NO = ("true", "1", "yes"), ("false", "0", "no")


class BrokenRowsError(Exception):
    """The file can't be read as long rows; the message names the line, the column and the remedy."""


def read_long_rows(path: Path) -> list[Row]:
    """The rows of a file; one with an empty `value` is no row. BrokenRowsError for anything else."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BrokenRowsError(f"{path}: {error}; give a CSV or JSON file in UTF-8") from error
    rows = _from_json(path, text) if path.suffix.lower() == ".json" else list(_from_csv(path, text))
    if not rows:
        raise BrokenRowsError(f"{path}: there is no row with a value; give one line an outcome or score")
    return rows


def _from_json(path: Path, text: str) -> list[Row]:
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise BrokenRowsError(f"{path}: {error}; give a JSON list of objects, one a row") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BrokenRowsError(f"{path}: not a list of objects; give one object a row")
    return [row for row in rows if row.get("value") is not None]


def _from_csv(path: Path, text: str) -> Iterator[Row]:
    reader = csv.reader(text.splitlines())
    header = [name.strip() for name in next(reader, [])]
    _check_header(path, header)
    for cells in reader:
        where = f"{path}, line {reader.line_num}"
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise BrokenRowsError(
                f"{where}: {len(cells)} cells for {len(header)} columns; quote cells with commas"
            )
        row = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
        if row["value"]:
            yield _typed(where, row)


def _check_header(path: Path, header: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in header]
    unknown = [name for name in header if name not in (*REQUIRED, *OPTIONAL)]
    twice = sorted({name for name in header if header.count(name) > 1})
    for names, what in ((missing, "lacks"), (unknown, "has the unknown"), (twice, "repeats")):
        if names:
            known = f"{', '.join(REQUIRED)}, and if at hand {', '.join(OPTIONAL)}"
            raise BrokenRowsError(f"{path}, line 1: the header {what} {', '.join(names)}; the columns are {known}")


def _typed(where: str, row: dict[str, str]) -> Row:
    found: Row = {name: cell for name, cell in row.items() if cell}
    found["value"] = _number(where, "value", row["value"], float)
    if "seed" in found:
        found["seed"] = _number(where, "seed", row["seed"], int)
    word = row["higher_is_better"].lower()
    if word not in (*_YES, *_NO):
        raise BrokenRowsError(f"{where}: higher_is_better is {word!r}; write true or false")
    found["higher_is_better"] = word in _YES
    return found


def _number(where: str, column: str, cell: str, kind: type[int] | type[float]) -> int | float:
    try:
        return kind(cell)
    except ValueError as error:
        what = "a whole number" if kind is int else "a number"
        raise BrokenRowsError(f"{where}: {column} is {cell!r}; write {what}, or leave the cell empty") from error
