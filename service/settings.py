"""Every setting of every process, from the environment (`ZOORANK_...`) or a TOML file."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

from kombu.transport import TRANSPORT_ALIASES
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

_DATABASES = ("sqlite", "postgresql")


class Settings(BaseSettings):
    """Every setting. The defaults run everything on one machine; two URLs make it distributed."""

    model_config = SettingsConfigDict(env_prefix="ZOORANK_", extra="forbid", hide_input_in_errors=True)

    data_dir: Path = Field(
        Path(".zoorank"), description="Folder of the database, the embedded broker and the finetuned networks."
    )
    roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="Folders that URIs of datasets and checkpoints may point into, besides the data folder."
    )
    database_url: SecretStr = Field(
        SecretStr(""), description="URL of the database; empty means SQLite in the data folder."
    )
    broker_url: SecretStr = Field(
        SecretStr(""), description="URL of the Celery broker; empty means files in the data folder."
    )
    host: str = Field("127.0.0.1", description="Address that the API listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that the API listens on; 0 takes a free one.")
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Names that requests may call the service by, comma-separated, besides loopback and the "
        "address that it listens on; * takes every name.",
    )
    body_seconds: float = Field(
        60, gt=0, description="Longest time in seconds that the body of a request may take to arrive."
    )
    most_candidates: int = Field(1000, ge=1, description="Largest number of candidates of one ranking.")
    devices: str = Field(
        "auto",
        description="Devices of the worker processes, one process each, comma-separated: cpu, cuda:0 and so on. "
        "auto takes what the machine has.",
    )
    lease_seconds: float = Field(
        60, gt=0, description="Seconds without a heartbeat after which a worker loses its job."
    )
    sweep_seconds: float = Field(10, gt=0, description="Seconds between two sweeps for lost jobs and messages.")
    resend_seconds: float = Field(
        30, gt=0, description="Seconds after which a queued job without a worker is sent again."
    )
    attempts: int = Field(
        3, ge=1, description="Number of processes that a job may end by its own fault before it fails."
    )
    task_seconds: float = Field(86_400, gt=0, description="Longest time in seconds that one job may run.")
    wait_seconds: float = Field(
        43_200,
        gt=0,
        description="Longest time in seconds that a result waits while the database is away or a disk is full.",
    )
    statement_seconds: float = Field(
        20,
        ge=1,
        description="Longest time in seconds that PostgreSQL may take for one statement; half of it for a lock.",
    )
    instance: str = Field(
        "", description="Name that /healthz answers; `zoorank serve` sets it to know its own API."
    )
    read_seconds: float = Field(
        120, gt=0, description="Longest time in seconds that reading one file of a dataset or checkpoint may take."
    )
    read_memory_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Share of the memory of the worker's container or machine that reading one file may take.",
    )
    log_level: str = Field("INFO", description="Level of the log messages of every process.")

    @field_validator("roots", mode="before")
    @classmethod
    def _split_roots(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for part in value.split(os.pathsep) if part)
        return value

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @field_validator("database_url", "broker_url")
    @classmethod
    def _readable(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        text = value.get_secret_value()
        brokers = info.field_name == "broker_url"
        for url in text.split(";") if brokers else [text]:  # Celery takes several
            if url:
                _check_url(url, TRANSPORT_ALIASES if brokers else _DATABASES)
        return value

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in use."""
        url = self.database_url.get_secret_value() or f"sqlite:///{self.data_dir / 'zoorank.db'}"
        return url.replace("postgresql://", "postgresql+psycopg://", 1)

    @property
    def broker(self) -> str:
        """The Celery broker URL in use; `filesystem://` is the embedded one."""
        return self.broker_url.get_secret_value() or "filesystem://"

    @property
    def broker_dir(self) -> Path:
        """Where the embedded broker keeps its messages."""
        return self.data_dir / "broker"

    @property
    def networks_dir(self) -> Path:
        """Where finetuned networks are written."""
        return self.data_dir / "networks"

    @property
    def allowed_roots(self) -> tuple[Path, ...]:
        """Resolved folders that a URI may point into."""
        return (self.data_dir, *(root.expanduser().resolve() for root in self.roots))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file that `ZOORANK_SETTINGS` names (default `zoorank.toml`)."""
        file = os.environ.get("ZOORANK_SETTINGS", "")
        if file and not Path(file).is_file():
            raise BrokenSettingsError(
                f"ZOORANK_SETTINGS names {file!r}, which is not a file; correct it, or unset it"
            )
        file = file or "zoorank.toml"
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file)


def _check_url(url: str, known: Collection[str]) -> None:
    """ValueError unless the URL can be split into parts. The message never quotes it: it may hold a password."""
    scheme, separator, rest = url.partition("://")
    kind, _, driver = scheme.partition("+")
    if not separator or kind not in known or (kind == "postgresql" and driver not in ("", "psycopg")):
        raise ValueError(f"begin it with scheme://, the scheme one of {', '.join(sorted(known))}")
    if kind in ("sqlite", "filesystem") or driver == "socket":
        return
    try:
        ambiguous = urlsplit(url).port is None and "@" in "".join(re.split(r"[/?#]", rest, maxsplit=1)[1:])
    except ValueError:
        ambiguous = True
    if ambiguous:
        raise ValueError("it can't be split into its parts; percent-encode : / ? # @ and % in its password")


class BrokenSettingsError(Exception):
    """The settings can't be used; names each that is wrong and never its value."""


@lru_cache
def settings() -> Settings:
    """The settings of this process, read once."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = [f"setting {'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise BrokenSettingsError("; ".join(wrong)) from None
    except tomllib.TOMLDecodeError as error:
        raise BrokenSettingsError(f"the settings file is not valid TOML: {error}") from None


def settings_or_exit() -> Settings:
    """The settings, for the start of a process; SystemExit with the reason when they can't be used."""
    try:
        return settings()
    except BrokenSettingsError as error:
        raise SystemExit(str(error)) from None


def private_folder(folder: Path) -> Path:
    """The folder, made where it is missing, closed to other users of the machine."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid == os.getuid() and folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def write_privately() -> None:
    """Make files that this process and its children write readable by their user alone."""
    os.umask(0o077)


def local_path(uri: str) -> Path:
    """The file a `file://` URI or absolute path means; ValueError unless it lies in an allowed root.

    A URI is percent-decoded, a path is used as it is. Links are followed first, so a link out of a root is
    refused too.
    """
    path = _named(uri)
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{uri!r} can't be followed to a file (a loop of links?)") from error
    if not any(resolved.is_relative_to(root) for root in settings().allowed_roots):
        raise ValueError(f"{uri!r} lies outside the configured roots; add its folder to ZOORANK_ROOTS or move it")
    return resolved


def _named(uri: str) -> Path:
    if uri.startswith("/"):
        return Path(uri)
    parts = urlsplit(uri)
    if parts.scheme != "file" or not parts.path.startswith("/"):
        raise ValueError(f"{uri!r} is neither a file:// URI nor an absolute path")
    if parts.netloc not in ("", "localhost"):
        raise ValueError(f"{uri!r} names the host {parts.netloc!r}; give an absolute path: file:///...")
    if parts.query or parts.fragment:
        raise ValueError(f"{uri!r} has a ? or #; write %3F or %23 where the file's name has one, % as %25")
    return Path(unquote(parts.path))
