"""The import contracts break where a wing is crossed, and the service names nothing that science publishes."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import service
from worker.publish import what_it_can

ROOT = Path(str(service.__file__)).parents[1]
PACKAGES = ("service", "worker", "models_zoo", "migrations")
LINT = Path(sys.executable).with_name("lint-imports")
NAMED = ("measure", "method", "recipe", "flag", "metric", "target_task")
ORDINARY_WORDS = {"loss", "failed"}  # also words for other things: a lost lease, a state of work


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
    rooms = {"api", "client", "supervisor", "store", "jobs", "ledger"}
    assert top == {"__init__.py", "settings.py", "queue.py", *rooms}


def test_the_service_names_nothing_that_science_knows() -> None:
    names = {name for kind in NAMED for name in what_it_can()[kind]} - ORDINARY_WORDS
    assert len(names) > 40
    named = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value!r}"
        for path in sorted((ROOT / "service").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert named == []
