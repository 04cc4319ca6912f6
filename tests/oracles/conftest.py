"""Golden vectors beside the repository, read in place; tests over them are skipped where they are absent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "golden"


@dataclass(frozen=True)
class Case:
    """One recorded reference run: inputs, expected outputs and how near to come to each."""

    id: str
    notes: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def input(self, name: str) -> np.ndarray:
        return self.arrays[f"in_{name}"]

    def expects(self, name: str) -> bool:
        return f"out_{name}" in self.arrays and self._tolerance(name).get("compare", True)

    def check(self, name: str, value: Any) -> None:
        """Compare `value` with the recorded output; one that isn't comparable passes."""
        if not self.expects(name):
            return
        near = self._tolerance(name)
        limits = {"rtol": near.get("rtol", 0.0), "atol": near.get("atol", 0.0)}
        np.testing.assert_allclose(value, self.arrays[f"out_{name}"], err_msg=f"{self.id}: {name}", **limits)

    def _tolerance(self, name: str) -> dict[str, Any]:
        known = self.notes["tolerance"]
        prefixes = sorted((key for key in known if name.startswith(key)), key=len)
        return known[prefixes[-1]] if prefixes else known["default"]


@cache
def cases(family: str) -> tuple[Case, ...]:
    """Every case of one family; none when the vectors are absent."""
    index = GOLDEN / "index.json"
    if not index.exists():
        return ()
    listed = [notes for notes in json.loads(index.read_text())["cases"] if notes["family"] == family]
    return tuple(Case(notes["id"], notes, dict(np.load(GOLDEN / notes["file"]))) for notes in listed)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `case` runs over all cases of its module's FAMILY."""
    if "case" in metafunc.fixturenames:
        family = cases(metafunc.module.FAMILY)
        metafunc.parametrize("case", family, ids=[case.id for case in family])
