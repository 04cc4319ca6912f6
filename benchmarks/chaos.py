"""Kill everything at random while one ranking runs, and compare with the undisturbed run.

    python -m benchmarks.chaos --report docs/reliability.md
    python -m benchmarks.chaos --candidates 5 --kills 8    # a short one

PostgreSQL, Redis, the API and two workers run on this machine at the service's default settings. API and workers
are started again when they have died, as an orchestrator does. The first run is left alone. In the second,
something random is killed after a random time, again and again until `--kills` SIGKILLs are over. Then the ranking
goes on until it has ended.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import psycopg
import torch
from safetensors.torch import save_file

from benchmarks.kept_service import ROOT, Service
from benchmarks.servers import Postgres, Redis
from models_zoo import architecture as registry
from worker.demo.images import TARGET, photographs

REPORT = ROOT / "docs" / "reliability.md"
LONGEST_TAKEOVER = 30.0  # seconds after the end of a lease
LONGEST_ORPHAN = 20.0  # seconds that a process may outlive its parent
PATIENCE = 3600.0
WHAT = {  # what is done to the running service -> how often, relative to the others
    "API": 3,
    "worker's parent": 4,
    "worker's child": 8,
    "sweeper": 4,
    "Redis": 3,
    "FLUSHALL": 2,
    "PostgreSQL restart": 3,
}
NO_KILL = ("FLUSHALL", "PostgreSQL restart")
TEXT = """# Reliability: what random kills do to a ranking

Made on {date}, on {cores} cores, by

    python -m benchmarks.chaos {arguments}

PostgreSQL, Redis, an API and two workers run at the default settings. One ranking of {candidates} candidates runs
twice: undisturbed, and with these faults.

| fault | times |
|---|---|
{faults}

| what is promised | measured | kept |
|---|---|---|
{promises}

The undisturbed ranking took {calm} s, the disturbed one {rough} s in {attempts} attempts.
{leases} ran out{working}.
All other lost work was given back before the end of its lease, or had not been begun.

All but the last two faults are a SIGKILL of one process, chosen at random among those of its kind. An API or a
worker that was killed is started again a second later, as an orchestrator does; a child and a sweeper are started
again by their worker. Redis keeps nothing on disk here, so that its restart loses every message, as FLUSHALL does.
A restart of PostgreSQL is its immediate shutdown, which breaks every connection; the next start recovers from its
log.
"""


def _wait(what: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if answer := what():
            return answer
        time.sleep(0.5)
    raise AssertionError(f"not in {PATIENCE:.0f} s")


def write_files(work: Path, *, candidates: int, images: int, width: int) -> None:
    """The target, and U-Nets with random weights and affines."""
    pictures, vessels, _ = photographs(TARGET, images, seed=7)
    np.savez(work / "target.npz", images=pictures, masks=vessels)
    for number in range(candidates):
        torch.manual_seed(number)
        module = registry.build("unet", spatial_dims=2, in_channels=3, classes=2, width=width).module
        for layer in module.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                torch.nn.init.normal_(layer.weight, 1.0, 0.2)
                torch.nn.init.normal_(layer.bias, 0.0, 0.2)
        save_file(module.state_dict(), work / f"unet-{number}.safetensors")


def request(service: Service, work: Path, *, candidates: int, width: int) -> str:
    """Register everything, and request the ranking once all is ready; its id."""
    _wait(lambda: service.get("/readyz"))
    target = {"name": "target", "uri": str(work / "target.npz"), "task": "segmentation", "spatial_dims": 2}
    service.post("/v1/datasets", target)
    names = [f"unet-{number}" for number in range(candidates)]
    for name in names:
        body = {"name": name, "uri": str(work / f"{name}.safetensors"), "architecture": "unet", "spatial_dims": 2}
        card = {"source_task": "none", "normalisation": {"scale": "unit"}}
        parameters = {"in_channels": 3, "classes": 2, "width": width}
        service.post("/v1/checkpoints", {**body, "parameters": parameters, "card": card})
    return service.post("/v1/rankings", {"dataset": "target", "candidates": names})


def ended(service: Service, ranking_id: str) -> Any:
    """The ranking once it has ended."""
    ranking = service.get(f"/v1/rankings/{ranking_id}")
    return ranking if ranking and ranking["state"] not in ("queued", "running") else None


def values(ranking: dict[str, Any]) -> dict[tuple[str, str], float | None]:
    """(candidate, measure) -> the number that the worker computed."""
    return {
        (row["candidate"]["name"], measure): row["scores"].get(measure, {}).get("value")
        for row in ranking["ranked"]
        for measure in ranking["measures"]
    }


@dataclass
class Watch:
    """What was seen while the ranking ran: the end of the lease of each attempt, and who outlived whom."""

    leases: dict[tuple[str, int], float] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    orphans: list[float] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def note_leases(self, service: Service) -> None:
        """Read the lease of every running evaluation twice a second, until `over`."""
        query = "SELECT id, attempts, lease_until FROM evaluations WHERE state = 'running'"
        while not self.over.wait(0.5):
            try:
                with service.postgres.connect(service.name) as connection:
                    for row_id, attempt, lease in connection.execute(query).fetchall():
                        self.leases[row_id, attempt] = lease
            except psycopg.OperationalError:
                continue

    def note_orphans(self, processes: list[psutil.Process]) -> None:
        """How long these live on after their parent was killed, in seconds."""
        start = time.monotonic()
        _, alive = psutil.wait_procs(processes, timeout=LONGEST_ORPHAN + 10)
        self.orphans.append(float("inf") if alive else time.monotonic() - start)


def disturb(
    service: Service, watch: Watch, *, ranking_id: str, kills: int, pause: float, chance: random.Random
) -> None:
    """Until this many SIGKILLs are over, or the ranking has ended: wait, then do one random thing.

    It begins when the first evaluations are under way.
    """
    _wait(lambda: any(row["state"] != "queued" for row in _rows(service, ranking_id)))
    while sum(count for what, count in watch.done.items() if what not in NO_KILL) < kills:
        time.sleep(chance.expovariate(1 / pause))
        if ended(service, ranking_id):
            return
        [what] = chance.choices(list(WHAT), list(WHAT.values()))
        if _do(service, watch, what, chance):
            watch.done[what] += 1
            print(f"{datetime.now(UTC):%H:%M:%S} {what}", flush=True)


def _rows(service: Service, ranking_id: str) -> list[dict[str, Any]]:
    ranking = service.get(f"/v1/rankings/{ranking_id}")
    return ranking["ranked"] if ranking else []


def _do(service: Service, watch: Watch, what: str, chance: random.Random) -> bool:
    if what == "FLUSHALL":
        service.redis.forget()
    elif what == "Redis":
        service.redis.kill()
        service.redis.start()
    elif what == "PostgreSQL restart":
        service.postgres.crash()
        service.postgres.start()
    else:
        return _kill(watch, service.victims(what), chance)
    return True


def _kill(watch: Watch, pids: list[int], chance: random.Random) -> bool:
    try:
        victim = psutil.Process(chance.choice(pids))
        below = victim.children(recursive=True)
        victim.send_signal(signal.SIGKILL)
    except (IndexError, psutil.NoSuchProcess):
        return False  # it is starting again
    if below:
        threading.Thread(target=watch.note_orphans, args=(below,), daemon=True).start()
    return True


def takeovers(service: Service, watch: Watch) -> tuple[list[float], list[float]]:
    """Seconds from the end of a lease that ran out until the row was queued again, and until an attempt began."""
    query = "SELECT row_id, attempt, state, reason, at FROM events WHERE job = 'evaluations'"
    with service.postgres.connect(service.name) as connection:
        events = connection.execute(query).fetchall()
    began = {(row, attempt): float(at) for row, attempt, state, _, at in events if state == "running"}
    again: list[float] = []
    working: list[float] = []
    for row, attempt, state, reason, at in events:
        lease = watch.leases.get((row, attempt))
        if state == "queued" and reason and "lease" in reason and lease:
            again.append(float(at) - lease)
            if (row, attempt + 1) in began:
                working.append(began[row, attempt + 1] - lease)
    return again, working


def endings(service: Service) -> dict[str, int]:
    """Id of an evaluation -> how many events say that it was done."""
    done = "LEFT JOIN events v ON v.row_id = e.id AND v.state = 'done'"
    query = f"SELECT e.id, count(v.id) FROM evaluations e {done} GROUP BY e.id"  # noqa: S608 - no input
    with service.postgres.connect(service.name) as connection:
        return dict(connection.execute(query).fetchall())


@dataclass(frozen=True)
class Run:
    """One ranking from request to end."""

    ranking: dict[str, Any]
    seconds: float
    left: list[str]
    endings: dict[str, int]


def run(service: Service, work: Path, options: argparse.Namespace, during: Callable[[str], None]) -> Run:
    """Request the ranking, do something while it runs, wait for its end, stop the service."""
    ranking_id = request(service, work, candidates=options.candidates, width=options.width)
    start = time.monotonic()
    during(ranking_id)
    ranking = _wait(lambda: ended(service, ranking_id))
    seconds = time.monotonic() - start
    counted = endings(service)
    return Run(ranking, seconds, service.stop(), counted)


@contextmanager
def folder(given: Path | None) -> Iterator[Path]:
    """The folder of everything: the given one stays, another is removed."""
    work = given or Path(tempfile.mkdtemp(prefix="zr-chaos-"))
    work.mkdir(exist_ok=True)
    work.chmod(0o755)
    try:
        yield work
    finally:
        if given is None:
            shutil.rmtree(work, ignore_errors=True)


def main() -> int:
    """Both runs, then the report; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=14)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--pause", type=float, default=5.0, help="mean seconds between two faults")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--width", type=int, default=8, help="first width of the U-Nets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="folder that is kept, with the logs")
    parser.add_argument("--report", type=Path, help=f"file to write the report to, {REPORT.relative_to(ROOT)}")
    options = parser.parse_args()
    with folder(options.work) as work:
        return _compare(work, options)


def _compare(work: Path, options: argparse.Namespace) -> int:
    write_files(work, candidates=options.candidates, images=options.images, width=options.width)
    postgres, redis = Postgres(work / "postgres"), Redis(work / "redis")
    watch = Watch()
    try:
        calm = run(Service(work, "calm", postgres, redis), work, options, lambda _: None)
        print(f"undisturbed: {calm.ranking['state']} in {calm.seconds:.0f} s", flush=True)
        service = Service(work, "chaos", postgres, redis)
        threading.Thread(target=watch.note_leases, args=(service,), daemon=True).start()
        chance = random.Random(options.seed)
        rough = run(
            service,
            work,
            options,
            lambda ranking_id: disturb(
                service, watch, ranking_id=ranking_id, kills=options.kills, pause=options.pause, chance=chance
            ),
        )
        watch.over.set()
        report, kept = compared(calm, rough, watch, takeovers(service, watch), options)
    finally:
        redis.kill()
        postgres.stop()
    print(report)
    if options.report:
        options.report.write_text(report)
    return 0 if kept else 1


def compared(
    calm: Run, rough: Run, watch: Watch, delays: tuple[list[float], list[float]], options: argparse.Namespace
) -> tuple[str, bool]:
    """The report, and whether every promise was kept."""
    again, working = delays
    states = Counter(row["state"] for row in rough.ranking["ranked"])
    one, two = values(calm.ranking), values(rough.ranking)
    different = [key for key in one if one[key] != two.get(key)]
    kills = sum(count for what, count in watch.done.items() if what not in NO_KILL)
    lost = options.candidates - sum(states[state] for state in ("done", "failed"))
    twice = sum(count > 1 for count in rough.endings.values())
    missing = sum(value is None for value in two.values())
    promises = {
        f"at least {options.kills} SIGKILLs within one ranking": (kills, kills >= options.kills),
        "evaluations lost": (lost, lost == 0),
        "evaluations done twice": (twice, twice == 0),
        "evaluations failed": (states["failed"], states["failed"] == 0),
        f"scores that differ from the undisturbed run, of {len(one)}": (
            len(different),
            not different and bool(one),
        ),
        "scores without a number": (missing, missing == sum(value is None for value in one.values())),
        "processes left at the end": (len(rough.left), not rough.left),
        "longest life of a process after its parent was killed, seconds": _longest(watch.orphans, LONGEST_ORPHAN),
        "longest time from the end of a lease until the work was queued again, seconds": _longest(
            again, LONGEST_TAKEOVER
        ),
    }
    attempts = sum(row["attempts"] for row in rough.ranking["ranked"])
    text = TEXT.format(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        cores=os.cpu_count(),
        candidates=options.candidates,
        faults="\n".join(f"| {what} | {watch.done[what]} |" for what in WHAT),
        promises="\n".join(
            f"| {what} | {value} | {'yes' if kept else 'NO'} |" for what, (value, kept) in promises.items()
        ),
        calm=f"{calm.seconds:.0f}",
        rough=f"{rough.seconds:.0f}",
        attempts=attempts,
        leases="1 lease" if len(again) == 1 else f"{len(again)} leases",
        working=_until_working(working),
        arguments=_arguments(options),
    )
    return text, all(kept for _, kept in promises.values())


def _arguments(options: argparse.Namespace) -> str:
    """What decides the run, in full; where it ran and its report are left out."""
    names = ("candidates", "kills", "pause", "images", "width", "seed")
    return " ".join(f"--{name} {getattr(options, name)}" for name in names)


def _longest(seconds: list[float], limit: float) -> tuple[str, bool]:
    worst = max(seconds, default=0.0)
    return f"{worst:.1f}", worst <= limit


def _until_working(working: list[float]) -> str:
    if not working:
        return ""
    return f"; another attempt began at most {max(working):.0f} s after that, back-off and a free worker included"


if __name__ == "__main__":
    raise SystemExit(main())
