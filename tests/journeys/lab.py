"""A lab for journeys: the real processes, a target dataset, a few checkpoints, and an HTTP client."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import torch
from safetensors.torch import save_file

from models_zoo import architecture as registry
from worker.demo.images import TARGET, photographs

PATIENCE = 150.0
UNET = {"spatial_dims": 2, "in_channels": 3, "classes": 2, "width": 16}


class Lab:
    """Everything under one folder; `environment` chooses the mode."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.environment = {
            **os.environ,
            "ZOORANK_DATA_DIR": str(folder / "data"),
            "ZOORANK_ROOTS": str(folder),
            "ZOORANK_LEASE_SECONDS": "3",
            "ZOORANK_SWEEP_SECONDS": "1",
            "ZOORANK_RESEND_SECONDS": "5",
            "ZOORANK_DEVICES": "cpu",
            **environment,
        }
        self.processes: list[subprocess.Popen[bytes]] = []
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Run `python -m ...` in a process group of its own, its output in the folder."""
        with (self.folder / "output.log").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def serve(self) -> subprocess.Popen[bytes]:
        """The embedded mode: one command."""
        data = str(self.folder / "data")
        return self.start("service.client.terminal", "serve", "--port", str(self.port), "--data", data)

    def serve_api(self) -> subprocess.Popen[bytes]:
        """The distributed mode's API process."""
        port = str(self.port)
        return self.start(
            "uvicorn", "service.api.app:create_app", "--factory", "--host", "127.0.0.1", "--port", port
        )

    def serve_worker(self) -> subprocess.Popen[bytes]:
        """The distributed mode's worker."""
        return self.start("worker.main")

    def close(self) -> None:
        """Stop everything, hard where it must be."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                kill_tree(process.pid)
        self.http.close()

    def wait(self, what: Callable[[], Any], *, seconds: float = PATIENCE) -> Any:
        """Ask until the answer is true; fail with the processes' last output."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if answer := what():
                    return answer
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"not in {seconds} s; last output:\n" + self.output()[-4000:])

    def output(self) -> str:
        """What the processes printed."""
        return (self.folder / "output.log").read_text()

    def wait_until_ready(self) -> None:
        """Until requests can be validated."""
        self.wait(lambda: self.http.get("/readyz").is_success)

    def post(self, path: str, body: dict[str, Any], status: int) -> dict[str, Any]:
        """POST and check the status."""
        answer = self.http.post(path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def add_target(self, name: str, *, images: int = 60) -> dict[str, Any]:
        """Register a generated segmentation target."""
        path = self.folder / f"{name}.npz"
        pictures, vessels, _ = photographs(TARGET, images, seed=7)
        np.savez(path, images=pictures, masks=vessels)
        body = {"name": name, "uri": str(path), "task": "segmentation", "spatial_dims": 2}
        return self.post("/v1/datasets", body, 201)

    def add_unet(self, name: str, *, seed: int) -> dict[str, Any]:
        """Register a U-Net with seeded random weights and random affines (so that no z are tied)."""
        torch.manual_seed(seed)
        module = registry.build("unet", **UNET).module
        for layer in module.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                torch.nn.init.normal_(layer.weight, 1.0, 0.2)
                torch.nn.init.normal_(layer.bias, 0.0, 0.2)
        path = self.folder / f"{name}.safetensors"
        save_file(module.state_dict(), path)
        return self.post("/v1/checkpoints", self.unet_body(name, path), 201)

    def unet_body(self, name: str, path: Path) -> dict[str, Any]:
        """The registration of a U-Net file."""
        own = {key: value for key, value in UNET.items() if key != "spatial_dims"}
        card = {"source_task": "none", "normalisation": {"scale": "unit"}}
        body = {"name": name, "uri": str(path), "architecture": "unet", "spatial_dims": 2}
        return {**body, "parameters": own, "card": card}

    def rank(self, dataset: str, candidates: list[str], **more: Any) -> str:
        """Request a ranking; its id."""
        return str(self.post("/v1/rankings", {"dataset": dataset, "candidates": candidates, **more}, 202)["id"])

    def ranking(self, ranking_id: str) -> dict[str, Any]:
        """The ranking as it is now."""
        return self.http.get(f"/v1/rankings/{ranking_id}").json()

    def wait_for_ranking(self, ranking_id: str) -> dict[str, Any]:
        """Until no evaluation is open."""
        self.wait(lambda: self.ranking(ranking_id)["state"] in ("done", "failed"))
        return self.ranking(ranking_id)

    def wait_for_stage(self, ranking_id: str, stage: str) -> None:
        """Until some candidate is at this stage."""
        self.wait(lambda: any(row["stage"] == stage for row in self.ranking(ranking_id)["ranked"]))


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def kill_tree(pid: int) -> None:
    """SIGKILL a process and all below it, at once."""
    parent = psutil.Process(pid)
    for process in [*parent.children(recursive=True), parent]:
        process.kill()


def worker_below(pid: int) -> int:
    """The worker parent that `zoorank serve` started."""
    for process in psutil.Process(pid).children():
        if "worker.main" in process.cmdline():
            return process.pid
    raise AssertionError("serve has no worker")


def values(ranking: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """Candidate -> measure -> value."""
    return {
        row["candidate"]["name"]: {measure: score["value"] for measure, score in row["scores"].items()}
        for row in ranking["ranked"]
    }
