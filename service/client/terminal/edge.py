"""What every command of a service's client shares: its address, and how errors are shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from service.client.http import ClientError
from service.client.rows import BrokenRowsError

URL = "http://127.0.0.1:8000"
Url = Annotated[str, typer.Option("--url", envvar="ZOORANK_URL", help="Address of the service.")]


@contextmanager
def errors_shown() -> Iterator[None]:
    """Print an error of the client in red, and exit with status 1."""
    try:
        yield
    except (ClientError, BrokenRowsError) as error:
        Console(stderr=True).print(str(error), style="red", markup=False, highlight=False)
        raise typer.Exit(1) from None
