"""`zoorank demo`: from nothing to a ranked list, through the service as it runs in production."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from service.settings import settings
from worker.demo.zoo import (
    ARCHITECTURE,
    MUST_NOT_LEAD,
    PARAMETERS,
    SOURCES,
    Source,
    build_checkpoint,
    write_target,
)

DATASET = "demo-photographs"
PREFIX = "demo-"
READY_SECONDS = 120
STOP_SECONDS = 30
console = Console()


def main() -> int:
    """Serve, build the zoo, register, rank; 1 when a checkpoint leads that must not."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    start = time.monotonic()
    folder = settings().data_dir / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    with _service() as (url, process):
        _make_files(folder)
        with httpx.Client(base_url=url, timeout=30) as http:
            _wait_until_ready(http, process)
            _register(http, folder)
            names = [PREFIX + source.name for source in SOURCES]
            command = [
                sys.executable,
                "-m",
                "service.client.terminal",
                "rank",
                DATASET,
                *names,
                "--url",
                url,
            ]
            if subprocess.run(command, check=False).returncode:
                return 1
            leaders = leaders_of(_newest_ranking(http))
    _say_how_to_go_on(time.monotonic() - start)
    return verdict(leaders)


def _stop(number: int, _frame: object) -> None:
    """End by way of the context managers, so that the service ends too."""
    raise SystemExit(128 + number)


def leaders_of(ranking: dict[str, Any]) -> list[str]:
    """Who stands first, ties included."""
    return [row["candidate"]["name"] for row in ranking["ranked"] if row["position"] == 1]


def verdict(leaders: list[str]) -> int:
    """0 when a trained checkpoint leads the list; else 1, with the reason."""
    wrong = [name for name in leaders if name.removeprefix(PREFIX) in MUST_NOT_LEAD]
    if leaders and not wrong:
        return 0
    who = f"{', '.join(wrong)}, having learned nothing, leads" if wrong else "nobody leads"
    console.print(f"[red]Something is wrong: {who} the list.[/red]")
    return 1


@contextmanager
def _service() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The service on a free port, stopped at the end; its output goes to a log beside the database."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = settings().data_dir / "serve.log"
    command = [
        sys.executable,
        "-m",
        "service.client.terminal",
        "serve",
        "--port",
        str(port),
        "--data",
        str(settings().data_dir),
    ]
    console.print(f"Starting the service on port {port} (log: {log}).")
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _make_files(folder: Path) -> None:
    """What is not there yet: the target dataset, and each checkpoint, two at a time."""
    target = folder / "target.npz"
    if not target.is_file():
        write_target(target)
    missing = [source for source in SOURCES if not _file(folder, source).is_file()]
    if not missing:
        console.print("The zoo is there already.")
        return
    console.print(f"Training {len(missing)} checkpoints on generated images.")
    context = get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(2, mp_context=context) as pool:
        steps = manager.dict()
        jobs = [pool.submit(build_checkpoint, source, _file(folder, source), steps) for source in missing]
        _watch(missing, steps, jobs)


def _watch(sources: list[Source], steps: Mapping[str, tuple[int, int]], jobs: list[Future[None]]) -> None:
    """A bar a checkpoint, until all are written."""
    columns = (TextColumn("  {task.description:<14}"), BarColumn(), TextColumn("{task.fields[what]}"))
    with Progress(*columns, console=console) as bars:
        shown = {
            source.name: bars.add_task(source.name, what=f"{source.task}; {source.data}") for source in sources
        }
        while not all(job.done() for job in jobs):
            time.sleep(0.2)
            for name, (done, total) in dict(steps).items():
                bars.update(shown[name], completed=done, total=total)
    for job in jobs:
        job.result()


def _file(folder: Path, source: Source) -> Path:
    return folder / f"{source.name}.safetensors"


def _wait_until_ready(http: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if http.get("/readyz").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"the service did not get ready; {settings().data_dir / 'serve.log'} says why")


def _register(http: httpx.Client, folder: Path) -> None:
    """Register what is not registered yet."""
    target = {"name": DATASET, "uri": str(folder / "target.npz"), "task": "segmentation", "spatial_dims": 2}
    _post_once(http, "/v1/datasets", {**target, "modality": "photograph"})
    for source in SOURCES:
        card = {"source_task": source.task, "source_data": source.data, "modality": "photograph"}
        parameters = {name: value for name, value in PARAMETERS.items() if name != "spatial_dims"}
        checkpoint = {
            "name": PREFIX + source.name,
            "uri": str(_file(folder, source)),
            "architecture": ARCHITECTURE,
            "spatial_dims": PARAMETERS["spatial_dims"],
            "parameters": parameters,
            "card": {**card, "normalisation": {"scale": "unit"}},
        }
        _post_once(http, "/v1/checkpoints", checkpoint)


def _post_once(http: httpx.Client, path: str, body: dict[str, object]) -> None:
    if http.get(f"{path}/{body['name']}").is_success:
        return
    answer = http.post(path, json=body)
    if not answer.is_success:
        raise SystemExit(f"{path} answered {answer.status_code}: {answer.text}")


def _newest_ranking(http: httpx.Client) -> dict[str, Any]:
    newest = http.get("/v1/rankings", params={"limit": 1}).json()["items"][0]
    ranking: dict[str, Any] = http.get(f"/v1/rankings/{newest['id']}").json()
    return ranking


def _say_how_to_go_on(seconds: float) -> None:
    data = settings().data_dir
    console.print(f"\nDone in {seconds:.0f} s. To look around, open the service again on the same data:")
    console.print(
        f"  zoorank serve --port 8000 --data {data}     then visit http://127.0.0.1:8000/", soft_wrap=True
    )


if __name__ == "__main__":
    raise SystemExit(main())
