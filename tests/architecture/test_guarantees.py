"""Every promise of docs/guarantees.md names a test, and the test is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROMISES = [
    line
    for line in (ROOT / "docs/guarantees.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| promise ")
]


def test_every_promise_has_a_test_that_is_there() -> None:
    assert PROMISES
    for line in PROMISES:
        named = re.findall(r"`([a-z_/]+\.py)::(test_\w+)`", line)
        assert named, line
        for file, test in named:
            tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
            assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, (file, test)
