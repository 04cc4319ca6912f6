"""Which device each worker process computes on; without torch, for the parent that must not import it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from service.settings import settings

MOST_CPU_PROCESSES = 2  # a process computes on one thread by default


def device_names() -> list[str]:
    """One device a worker process: the setting, else each GPU that the system shows, else CPUs."""
    if settings().devices != "auto":
        return [name.strip() for name in settings().devices.split(",") if name.strip()]
    if gpus := visible_gpus():
        return [f"cuda:{index}" for index in range(gpus)]
    return ["cpu"] * min(MOST_CPU_PROCESSES, os.cpu_count() or 1)


def visible_gpus() -> int:
    """How many GPUs CUDA will show a process: those of CUDA_VISIBLE_DEVICES where it is set."""
    there = len(list(Path("/dev").glob("nvidia[0-9]*")))
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return there
    return min(there, len([name for name in chosen.split(",") if name.strip() not in ("", "-1")]))


_taken = 0


def take(index: int) -> None:
    """Make this the process of the device at `index`; called once, after the fork."""
    global _taken
    _taken = index


def own_device() -> str:
    """The name of this process's device."""
    names = device_names()
    return names[_taken % len(names)]


def worker_name() -> str:
    """Host, process and device, for the rows this process works on."""
    return f"{process_name(os.getpid())}{own_device()}"


def process_name(pid: int) -> str:
    """What the names of this process of this host begin with."""
    return f"{host_name()}:{pid}:"


def host_name() -> str:
    """The host of this process, as rows name it."""
    return socket.gethostname()
