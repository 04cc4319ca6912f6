"""The compose file, the images and the README keep step with settings and entry points."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from kombu.transport import TRANSPORT_ALIASES
from sqlalchemy import make_url
from typer.main import get_command

from service.client.terminal.commands import app as cli
from service.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile.gpu").read_text()
SETTINGS = {f"ZOORANK_{name.upper()}" for name in Settings.model_fields}
WORKERS = ("worker", "worker-cpu")
OURS = ("migrations", "api", *WORKERS)


def _commands() -> set[str]:
    return set(get_command(cli).commands)  # type: ignore[attr-defined]


def test_the_services_are_there() -> None:
    assert set(COMPOSE["services"]) == {"postgres", "redis", *OURS}


def test_a_host_without_a_gpu_can_start_a_worker() -> None:
    reserving = {name for name, service in COMPOSE["services"].items() if "nvidia" in str(service.get("deploy"))}
    assert reserving == {"worker"}
    assert [COMPOSE["services"][name]["profiles"] for name in WORKERS] == [["gpu"], ["cpu"]]
    readme = (ROOT / "README.md").read_text()
    assert "docker compose --profile gpu up" in readme
    assert "--profile cpu" in readme


def test_the_readme_names_paths_inside_the_containers() -> None:
    roots = COMPOSE["services"]["api"]["environment"]["ZOORANK_ROOTS"].split(":")
    readme = (ROOT / "README.md").read_text()
    assert all(f"`{root}`" in readme for root in roots)
    assert f"`file://{roots[0]}/lesions.npz`" in readme


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting_and_both_urls_are_given(name: str) -> None:
    environment = COMPOSE["services"][name]["environment"]
    assert set(environment) <= SETTINGS
    assert make_url(environment["ZOORANK_DATABASE_URL"].split("$")[0] + "x@h/d").get_dialect().name == "postgresql"
    assert environment["ZOORANK_BROKER_URL"].split(":")[0] in TRANSPORT_ALIASES
    assert Settings.model_fields.keys() >= {"database_url", "broker_url", "data_dir", "roots"}


@pytest.mark.parametrize("name", OURS)
def test_every_root_and_the_data_folder_are_mounted(name: str) -> None:
    service = COMPOSE["services"][name]
    mounted = {volume.removesuffix(":ro").rsplit(":", 1)[1] for volume in service["volumes"]}
    environment = service["environment"]
    assert {environment["ZOORANK_DATA_DIR"], *environment["ZOORANK_ROOTS"].split(":")} == mounted


def test_hosts_in_urls_are_services() -> None:
    environment = COMPOSE["services"]["api"]["environment"]
    hosts = {re.search(r"@?(\w+):\d+/", environment[name])[1] for name in environment if name.endswith("_URL")}  # type: ignore[index]
    assert hosts == {"postgres", "redis"}


def test_the_images_are_built_from_targets_that_exist() -> None:
    targets = set(re.findall(r"^FROM .* AS (\w+)$", DOCKERFILE, re.MULTILINE))
    used = {COMPOSE["services"][name]["build"]["target"] for name in OURS}
    assert used == {"api", "worker"}
    assert used <= targets


def test_only_the_worker_image_gets_torch() -> None:
    api, worker = DOCKERFILE.split("AS api")[1].split("AS worker")
    assert "[worker]" not in api
    assert "'.[worker]'" in worker
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not any(name in requirement for requirement in extras["dependencies"] for name in ("torch", "scipy"))


def test_what_the_images_copy_and_run_exists() -> None:
    for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
    [module] = re.findall(r'"python", "-m", "([\w.]+)"', DOCKERFILE)
    assert callable(importlib.import_module(f"{module}.__main__").main)
    assert '"zoorank", "worker"' in DOCKERFILE
    assert COMPOSE["services"]["migrations"]["command"] == ["zoorank", "db", "upgrade"]
    assert {"serve", "worker", "db", "demo", "rank"} <= _commands()


def test_the_api_waits_for_the_migrations_and_nothing_is_published_beyond_loopback() -> None:
    for name in ("api", *WORKERS):
        waits = COMPOSE["services"][name]["depends_on"]
        assert waits["migrations"] == {"condition": "service_completed_successfully"}
    assert all(port.startswith("127.0.0.1:") for port in COMPOSE["services"]["api"]["ports"])


def test_the_readme_lists_every_setting() -> None:
    listed = set(re.findall(r"`(ZOORANK_[A-Z_]+)`", (ROOT / "README.md").read_text()))
    assert listed - {"ZOORANK_SETTINGS"} == SETTINGS


def test_the_lock_pins_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    names = {re.split(r"[\[>=<]", requirement)[0].lower() for requirement in wanted} - {"zoorank"}
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert names <= pinned


def test_the_worker_parent_never_imports_torch() -> None:
    code = "import sys, worker.main as w; w.register_tasks(w.queue.app()); print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
