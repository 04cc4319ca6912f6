"""Settings come from the environment and a file; what is wrong is named, and no secret is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service.settings import BrokenSettingsError, Settings, local_path, settings

SECRET = "pass-word-3"  # noqa: S105


def _file(monkeypatch: pytest.MonkeyPatch, file: Path, content: str | None) -> None:
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("ZOORANK_SETTINGS", str(file))
    settings.cache_clear()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (f'databse_url = "postgresql://lab:{SECRET}@db/zoo"', "databse_url"),
        (f'broker_url = "redis//:{SECRET}@cache:6379/0"', "broker_url"),
        (f"broker_url = {SECRET}", "TOML"),
        (f'database_url = "{SECRET}"\nport = "{SECRET}"', "port"),
    ],
)
def test_a_mistake_in_the_file_is_named_and_no_secret_is(
    configure: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str, named: str
) -> None:
    configure()
    _file(monkeypatch, tmp_path / "own.toml", content)
    with pytest.raises(BrokenSettingsError, match=named) as caught:
        settings()
    assert SECRET not in str(caught.value)
    run = subprocess.run(
        [sys.executable, "-c", "from service.client.terminal.commands import main; main()", "serve"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert named in run.stderr
    assert SECRET not in run.stdout + run.stderr


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("broker_url", f"redis//:{SECRET}@cache:6379/0"),
        ("broker_url", f"redis:/:{SECRET}@cache"),
        ("broker_url", f"redsi://:{SECRET}@cache"),
        ("broker_url", f"redis://:{SECRET}/x@cache:6379/0"),
        ("broker_url", f"redis://:{SECRET}#@cache:6379/0"),
        ("broker_url", f"redis://cache:6379/0;redis//:{SECRET}@cache"),
        ("database_url", f"lab:{SECRET}@db/zoo"),
        ("database_url", f"mysql://lab:{SECRET}@db/zoo"),
        ("database_url", f"postgresql+asyncpg://lab:{SECRET}@db/zoo"),
        ("database_url", f"postgresql://lab@db:{SECRET}/zoo"),
    ],
)
def test_a_malformed_url_is_refused_without_its_words(
    configure: Callable[..., Settings], name: str, url: str
) -> None:
    with pytest.raises(BrokenSettingsError, match=f"setting {name}: ") as caught:
        configure(**{name: url})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("broker_url", "filesystem://"),
        ("broker_url", "redis://cache"),
        ("broker_url", f"redis://:{SECRET}@cache:6379/0"),
        ("broker_url", f"rediss://lab:{SECRET}@cache:6379/0"),
        ("broker_url", "redis+socket:///run/redis.sock"),
        ("broker_url", "redis://one;redis://two"),
        ("broker_url", f"amqp://lab:{SECRET}@broker:5672//"),
        ("database_url", "sqlite:////srv/a@b/zoo.db"),
        ("database_url", "postgresql+psycopg://postgres@/zoo?host=/tmp/zr"),
        ("database_url", f"postgresql+psycopg://lab:{SECRET}@db:5432/zoo"),
    ],
)
def test_a_sound_url_is_taken(configure: Callable[..., Settings], name: str, url: str) -> None:
    assert getattr(configure(**{name: url}), name.removesuffix("_url")) == url


def test_plain_postgresql_means_the_driver_there_is(configure: Callable[..., Settings]) -> None:
    assert configure(database_url="postgresql://lab@db/zoo").database == "postgresql+psycopg://lab@db/zoo"


def test_a_named_file_must_be_there_and_the_default_one_need_not(
    configure: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    configure()
    _file(monkeypatch, tmp_path / "absent.toml", None)
    with pytest.raises(BrokenSettingsError, match=r"absent\.toml"):
        settings()
    monkeypatch.delenv("ZOORANK_SETTINGS")
    monkeypatch.chdir(tmp_path)
    assert settings().port == 8000
    (tmp_path / "zoorank.toml").write_text("port = 8123")
    settings.cache_clear()
    assert settings().port == 8123


def test_a_lost_message_costs_half_a_minute(configure: Callable[..., Settings]) -> None:
    assert configure().resend_seconds == 30


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("file://{root}/a.npz", "a.npz"),
        ("file://localhost{root}/a.npz", "a.npz"),
        ("file:{root}/a.npz", "a.npz"),
        ("FILE://{root}/a.npz", "a.npz"),
        ("file://{root}/optic%20disc%20%231%25.npz", "optic disc #1%.npz"),
        ("file://{root}/K%C3%A4se.npz", "Käse.npz"),
        ("{root}/optic%20disc #1?.npz", "optic%20disc #1?.npz"),
    ],
)
def test_a_uri_is_decoded_and_a_path_is_not(configure: Callable[..., Settings], uri: str, name: str) -> None:
    root = configure().data_dir
    assert local_path(uri.format(root=root)) == root / name


@pytest.mark.parametrize(
    ("uri", "word"),
    [
        ("file://elsewhere{root}/a.npz", "elsewhere"),
        ("file://{root}/../a.npz", "outside"),
        ("file://{root}/%2e%2e/a.npz", "outside"),
        ("file://{root}/%2e%2e%2fa.npz", "outside"),
        ("file://{root}/a.npz#1", "%23"),
        ("file://{root}/a?.npz/b", "%3F"),
        ("file://{root}/a%00.npz", "null"),
        ("file://a.npz", "absolute"),
        ("file://[{root}", "Invalid"),
        ("https://{root}/a.npz", "absolute"),
        ("a.npz", "absolute"),
        ("", "absolute"),
    ],
)
def test_what_is_no_local_file_inside_a_root_is_refused(
    configure: Callable[..., Settings], uri: str, word: str
) -> None:
    root = configure().data_dir
    with pytest.raises(ValueError, match=word):
        local_path(uri.format(root=root))
