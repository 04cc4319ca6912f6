"""A served instance for benchmarks, and what they ask of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from worker.science.measures.registry import measures


@contextmanager
def service(work: Path, shared: Path) -> Iterator[httpx.Client]:
    """The service on a free port, on its embedded defaults."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "ZOORANK_ROOTS": os.pathsep.join((str(work), str(shared)))}
    command = [
        sys.executable,
        "-m",
        "service.client.terminal",
        "serve",
        "--port",
        str(port),
        "--data",
        str(work / "service"),
    ]
    with (work / "serve.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
                wait(lambda: http.get("/readyz").is_success)
                wait(lambda: set(http.get("/v1/measures").json()["items"]) == set(measures()))  # of this code
                yield http
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def wait(ready: Callable[[], bool]) -> None:
    """Ask again and again until the answer is yes."""
    while True:
        try:
            if ready():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)


def post(http: httpx.Client, path: str, body: dict[str, Any], *, key: str | None = None) -> dict[str, Any]:
    """The answer to a body; under a key, what was answered the first time."""
    answer = http.post(path, json=body, headers={"Idempotency-Key": key} if key else {})
    if not answer.is_success:
        raise SystemExit(f"{path}: {answer.text}")
    return answer.json()


def register(http: httpx.Client, path: str, body: dict[str, Any]) -> None:
    """Register what is not there under this name yet."""
    if not http.get(f"{path}/{body['name']}").is_success:
        post(http, path, body)


def register_wnets(http: httpx.Client, shared: Path) -> tuple[str, ...]:
    """The third-party W-Nets, by their first U-Net, from the published cards; their names."""
    names = []
    for entry in json.loads((shared / "checkpoints/manifest.json").read_text()):
        if entry["group"] == "wnet_small":
            uri = str(shared / "checkpoints" / entry["file"])
            register(http, "/v1/checkpoints", {"name": entry["name"], "uri": uri, "catalogue": entry["name"]})
            names.append(entry["name"])
    return tuple(names)
