"""`zoorank demo`: a stranger's first command ends well, leaves nothing running, and reuses what it made."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from worker.demo.__main__ import PREFIX, verdict
from worker.demo.zoo import MUST_NOT_LEAD, SOURCES


def demo(data: Path) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run it on this data folder; what it printed, and its seconds."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ZOORANK_")}
    environment |= {"ZOORANK_DATA_DIR": str(data), "COLUMNS": "200"}
    start = time.monotonic()
    command = [sys.executable, "-m", "service.client.terminal", "demo"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    return done, time.monotonic() - start


def left_behind(data: Path) -> list[str]:
    """Command lines of processes that run on this data folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("ZOORANK_DATA_DIR") == str(data) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def leader(printed: str) -> str:
    """The first candidate that the printed list names."""
    names = [PREFIX + source.name for source in SOURCES]
    tail = printed[printed.rindex("one epoch") :] if "one epoch" in printed else printed
    return min((name for name in names if name in tail), key=tail.index)


@pytest.mark.timeout(400)
def test_the_demo_ends_well_twice_and_fails_when_the_wrong_one_leads(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first, seconds = demo(data)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "Training" in first.stdout
    for source in SOURCES:
        assert PREFIX + source.name in first.stdout
    assert "zoorank serve" in first.stdout
    assert leader(first.stdout).removeprefix(PREFIX) not in MUST_NOT_LEAD
    assert left_behind(data) == []

    second, seconds_again = demo(data)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "The zoo is there already." in second.stdout
    assert "Training" not in second.stdout
    assert leader(second.stdout) == leader(first.stdout)
    assert seconds_again < seconds / 2
    assert left_behind(data) == []

    swapped = tmp_path / "swapped"  # the same, but what the near domain taught is called random labels
    (swapped / "demo").mkdir(parents=True)
    names = {"near-domain": "random-labels", "random-labels": "never-trained", "never-trained": "near-domain"}
    for file in (data / "demo").iterdir():
        (swapped / "demo" / f"{names.get(file.stem, file.stem)}{file.suffix}").write_bytes(file.read_bytes())
    third, _ = demo(swapped)
    assert third.returncode == 1, third.stdout + third.stderr
    assert "demo-random-labels, having learned nothing" in third.stdout
    assert left_behind(swapped) == []


@pytest.mark.parametrize("wrong", MUST_NOT_LEAD)
def test_it_fails_when_one_that_learned_nothing_leads_alone_or_beside_another(wrong: str) -> None:
    assert verdict([PREFIX + wrong]) == 1
    assert verdict([PREFIX + "near-domain", PREFIX + wrong]) == 1


def test_it_fails_when_nobody_leads() -> None:
    assert verdict([]) == 1


def test_it_succeeds_when_one_that_learned_leads() -> None:
    assert {source.name for source in SOURCES} > set(MUST_NOT_LEAD)
    assert [verdict([PREFIX + one.name]) for one in SOURCES if one.name not in MUST_NOT_LEAD] == [0, 0, 0]
