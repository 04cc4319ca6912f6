"""Long rows of outcomes and scores from a CSV or JSON file."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

Row = dict[str, Any]

ROWS_PER_REQUEST = 20_000
REQUIRED = ("target", "candidate", "kind", "name", "value", "higher_is_better")
OPTIONAL = ("seed", "cohort", "modality", "task", "source")
_YES, _NO = ("true", "1", "yes"), ("false", "0", "no")


class BrokenRowsError(Exception):
    """The file can't be read as long rows; the message names the line, the column and the remedy."""


@dataclass(frozen=True)
class LongRows:
    """Rows of a file, and where in it each of them stands."""

    path: Path
    rows: list[Row]
    places: list[str]

    def parts(self) -> list[LongRows]:
        """The same in parts that one request can hold."""
        cuts = [slice(start, start + ROWS_PER_REQUEST) for start in range(0, len(self.rows), ROWS_PER_REQUEST)]
        return [LongRows(self.path, self.rows[cut], self.places[cut]) for cut in cuts]

    def placed(self, message: str) -> str:
        """The service's words about `rows.0` and others, with their places in the file."""
        begun = re.sub(r"(?m)^rows\.(\d+)\.", lambda row: f"{self.path}, {self._place(row)}: ", message)
        return re.sub(r"\brows\.(\d+)\b", self._place, begun)

    def _place(self, row: re.Match[str]) -> str:
        return self.places[int(row[1])] if int(row[1]) < len(self.places) else row[0]


def read_long_rows(path: Path) -> LongRows:
    """The rows of a file; one with an empty `value` is no row. BrokenRowsError for anything else."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BrokenRowsError(f"{path}: {error}; give a CSV or JSON file in UTF-8") from error
    placed_rows = list(_from_json(path, text) if path.suffix.lower() == ".json" else _from_csv(path, text))
    if not placed_rows:
        raise BrokenRowsError(f"{path}: there is no row with a value; give one line an outcome or score")
    return LongRows(path, [row for _, row in placed_rows], [place for place, _ in placed_rows])


def _from_json(path: Path, text: str) -> Iterator[tuple[str, Row]]:
    try:
        rows = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise BrokenRowsError(
            f"{path}: not strict JSON: {error}; give a JSON list of objects, one a row"
        ) from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BrokenRowsError(f"{path}: not a list of objects; give one object a row")
    for number, row in enumerate(rows, 1):
        if row.get("value", "") is not None:
            yield f"row {number}", row


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:40]} is too large")
    return value


def _from_csv(path: Path, text: str) -> Iterator[tuple[str, Row]]:
    lines = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [name.strip() for name in next(lines, [])]
        _check_header(path, header)
        after = lines.line_num
        for cells in lines:
            place, after = f"line {after + 1}", lines.line_num  # where the row begins: a cell may hold lines
            if not any(cell.strip() for cell in cells):
                continue
            row = _row(f"{path}, {place}", header, cells)
            if row is not None:
                yield place, row
    except csv.Error as error:
        raise BrokenRowsError(
            f"{path}, line {lines.line_num}: {error}; close every quote, write a quote in a cell as two"
        ) from error


def _row(where: str, header: list[str], cells: list[str]) -> Row | None:
    if len(cells) != len(header):
        raise BrokenRowsError(f"{where}: {len(cells)} cells for {len(header)} columns; quote cells with commas")
    row = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    return _typed(where, row) if row["value"] else None


def _check_header(path: Path, header: list[str]) -> None:
    if len(header) == 1 and header[0].count(";") + header[0].count("\t") > 1:
        raise BrokenRowsError(
            f"{path}, line 1: the columns are not separated by commas; save it as CSV with commas"
        )
    missing = [name for name in REQUIRED if name not in header]
    unknown = [name for name in header if name not in (*REQUIRED, *OPTIONAL)]
    twice = sorted({name for name in header if header.count(name) > 1})
    for names, what in ((missing, "lacks"), (unknown, "has the unknown"), (twice, "repeats")):
        if names:
            columns = f"{', '.join(REQUIRED)}, and if at hand {', '.join(OPTIONAL)}"
            raise BrokenRowsError(
                f"{path}, line 1: the header {what} {', '.join(names)}; the columns are {columns}"
            )


def _typed(where: str, row: dict[str, str]) -> Row:
    typed: Row = {name: cell for name, cell in row.items() if cell}
    for name in REQUIRED:
        if name not in typed:
            raise BrokenRowsError(f"{where}: {name} is empty; fill it, or empty the row's value to leave it out")
    typed["value"] = _number(where, "value", row["value"], float)
    if "seed" in typed:
        typed["seed"] = _number(where, "seed", row["seed"], int)
    word = row["higher_is_better"].lower()
    if word not in (*_YES, *_NO):
        raise BrokenRowsError(f"{where}: higher_is_better is {word!r}; write true or false")
    typed["higher_is_better"] = word in _YES
    return typed


def _number(where: str, column: str, cell: str, kind: type[int] | type[float]) -> int | float:
    try:
        number = math.nan if "_" in cell else float(cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or (kind is int and not number.is_integer()):
        what = "a whole number" if kind is int else "a finite number"
        raise BrokenRowsError(f"{where}: {column} is {cell!r}; write {what}, or leave the cell empty")
    return kind(number)
