"""The import contracts break where a wing is crossed, and the service names nothing that science publishes."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import service
from worker.publish import what_it_can

ROOT = Path(str(service.__file__)).parents[1]
PACKAGES = ("service", "worker", "models_zoo", "migrations")
LINT = Path(sys.executable).with_name("lint-imports")
NAMED = ("measure", "method", "recipe", "flag", "metric", "target_task")
ORDINARY_WORDS = {"loss", "failed"}  # also words for other things: a lost lease, a state of work
# Words of sentences: a correlation that the ledger computes, and what the labels of a dataset are.
IN_SENTENCES = {"pearson", "regression", "multilabel"}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The packages and their contracts, to be changed."""
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def _broken(folder: Path) -> list[str]:
    """The contracts that do not hold in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"}
    run = subprocess.run([LINT, "--no-cache"], cwd=folder, env=environment, capture_output=True, text=True)
    assert "Contracts:" in run.stdout, run.stdout + run.stderr
    return [line.removesuffix(" BROKEN") for line in run.stdout.splitlines() if line.endswith(" BROKEN")]


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        (
            "worker/tasks/reports.py",
            "from service.api.errors import ServiceError",
            "the worker enters the service by jobs, settings and queue",
        ),
        (
            "service/api/webhooks/__init__.py",
            "from sqlalchemy import select",
            "SQL is spoken by the store and the queue of record only",
        ),
        ("service/webhooks/__init__.py", "", "the service is these wings, in this order"),
    ],
    ids=["the worker imports the API", "a new domain speaks SQL", "a new wing"],
)
def test_a_deliberate_violation_breaks_its_contract(copy: Path, file: str, line: str, contract: str) -> None:
    path = copy / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{line}\n")
    assert _broken(copy) == [contract]


def test_the_service_has_settings_queue_and_rooms_at_its_top() -> None:
    top = {path.name for path in (ROOT / "service").iterdir() if path.name != "__pycache__"}
    rooms = {"api", "client", "supervisor", "store", "jobs", "ledger", "process"}
    assert top == {"__init__.py", "settings.py", "queue.py", *rooms}


def _texts(root: Path) -> Iterator[tuple[str, str]]:
    """Place -> every string and docstring of the service's modules, and every line of its templates."""
    for path in sorted((root / "service").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{path.relative_to(root)}:{node.lineno}", node.value
    for path in sorted((root / "service" / "api" / "web" / "templates").rglob("*.html")):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            yield f"{path.relative_to(root)}:{number}", line


def _named(root: Path) -> list[str]:
    """Where the service names what science knows: as a whole string, or as a word of a longer text."""
    names = {name for kind in NAMED for name in what_it_can()[kind]}
    assert len(names) > 40
    words = "|".join(re.escape(name) for name in sorted(names - ORDINARY_WORDS - IN_SENTENCES))
    within = re.compile(rf"(?<!\w)(?:{words})(?!\w)")
    return [
        f"{place}: {text!r}"
        for place, text in _texts(root)
        if text in names - ORDINARY_WORDS or within.search(text)
    ]


def test_the_service_names_nothing_that_science_knows() -> None:
    assert _named(ROOT) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("service/ledger/new.py", 'NAME = "regression"'),
        ("service/ledger/new.py", '"""Ordered by `ac_corr_null`."""'),
        ("service/ledger/new.py", 'def text(name: str) -> str:\n    return f"{name}: l2_sp, no_affine_norm"'),
        ("service/api/web/templates/rankings/new.html", "<p>Flagged no_affine_norm.</p>"),
    ],
    ids=["a whole string", "a docstring", "a part of a string", "a template"],
)
def test_a_name_of_science_in_the_service_is_noticed(copy: Path, file: str, text: str) -> None:
    (copy / file).write_text(text)
    assert [place.split(":")[0] for place in _named(copy)] == [file]
