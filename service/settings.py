"""Every setting of every process, from the environment (`ZOORANK_...`) or a TOML file."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)


class Settings(BaseSettings):
    """Defaults run everything on one machine with nothing to install; two URLs make it distributed."""

    model_config = SettingsConfigDict(env_prefix="ZOORANK_", extra="forbid")

    data_dir: Path = Field(Path(".zoorank"), description="Database, embedded broker and finetuned networks.")
    roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="Folders that dataset and checkpoint URIs may point into, besides data_dir."
    )
    database_url: SecretStr = Field(SecretStr(""), description="Default: SQLite in data_dir.")
    broker_url: SecretStr = Field(SecretStr(""), description="Default: the embedded broker in data_dir.")
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    devices: str = Field(
        "auto", description="One worker process each, comma-separated: cpu, cuda:0, ...; auto: what is there."
    )
    lease_seconds: float = Field(60, gt=0, description="A silent worker loses its work after this long.")
    sweep_seconds: float = Field(10, gt=0, description="How often lost work is looked for.")
    resend_seconds: float = Field(300, gt=0, description="Work queued this long without a worker is rung again.")
    attempts: int = Field(3, ge=1, description="Work whose worker dies this often fails with that reason.")
    task_seconds: float = Field(86_400, gt=0, description="Longest that one piece of work may run.")
    log_level: str = "INFO"

    @field_validator("roots", mode="before")
    @classmethod
    def _split_roots(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for part in value.split(os.pathsep) if part)
        return value

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in use."""
        return self.database_url.get_secret_value() or f"sqlite:///{self.data_dir / 'zoorank.db'}"

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
        file = os.environ.get("ZOORANK_SETTINGS", "zoorank.toml")
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file)


@lru_cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()


def local_path(uri: str) -> Path:
    """The file a `file://` URI or absolute path means; ValueError unless it lies in an allowed root.

    Links are followed first, so a link out of a root is refused too.
    """
    path = Path(uri.removeprefix("file://"))
    if "://" in str(uri.removeprefix("file://")) or not path.is_absolute():
        raise ValueError(f"{uri!r} is neither a file:// URI nor an absolute path")
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{uri!r} can't be followed to a file (a loop of links?)") from error
    if not any(resolved.is_relative_to(root) for root in settings().allowed_roots):
        raise ValueError(f"{uri!r} lies outside the configured roots; add its folder to ZOORANK_ROOTS or move it")
    return resolved
