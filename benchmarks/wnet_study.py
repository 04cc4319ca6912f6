"""Finetune twelve published W-Nets on four targets, over HTTP: the outcomes that measures are held against.

    python -m benchmarks.wnet_study --shared DIR --work DIR

DIR holds `data/` and `checkpoints/`. Every run is a finetune run of the service under its own Idempotency-Key:
a second call asks for nothing twice, and goes on where the first one stopped. With `--outcomes FILE` the outcomes
of an earlier study are imported instead, and only the rankings are computed: `benchmarks/wnet_outcomes.csv` has
the mean test Dice of the four runs of each target and candidate.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from benchmarks.real_rankings import fundus
from benchmarks.serving import post, register, register_wnets, service
from service.client.http import ZooRank
from service.client.rows import read_long_rows

METHODS = ("vanilla", "ac_norm")
SEEDS = (1, 2)
FINETUNE = {"batch_size": 4, "epochs": 8, "patience": 8, "learning_rate": 5e-3}
RANKINGS: tuple[dict[str, Any], ...] = ({}, {"learning_rate": 5e-3})  # two protocols, the first is the default
NUCLEI = {"train": 128, "val": 64, "test": 173}  # images of each part
POLL_SECONDS = 5.0
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Target:
    """A target dataset of the study, and how its npz is made from the stored one."""

    name: str
    modality: str
    cohort: str
    convert: Callable[[Path], Arrays]


def nuclei(shared: Path) -> Arrays:
    """Nuclei, 128 pixels a side; the first images of each part in a seeded order."""
    with np.load(shared / "data/dsb2018_nuclei_2d/dsb2018_nuclei_128.npz") as stored:
        arrays = {"images": stored["images"], "masks": np.unpackbits(stored["masks"], axis=-1)}
        split = stored["split"]
    order = np.random.default_rng(0).permutation(len(split))
    kept = np.concatenate([order[split[order] == part][:count] for part, count in NUCLEI.items()])
    return {name: array[kept] for name, array in {**arrays, "split": split}.items()}


FUNDUS = ("fundus photograph", "IDRiD")
TARGETS = (
    Target("idrid-disc", *FUNDUS, lambda shared: fundus(shared, "OD")),
    Target("idrid-exudates", *FUNDUS, lambda shared: fundus(shared, "EX")),
    Target("idrid-haemorrhages", *FUNDUS, lambda shared: fundus(shared, "HE")),
    Target("nuclei", "microscopy", "DSB2018", nuclei),
)


def register_targets(http: httpx.Client, shared: Path, work: Path) -> None:
    """Convert and register what is not there yet."""
    for target in TARGETS:
        path = work / f"{target.name}.npz"
        if not path.is_file():
            np.savez_compressed(path, **target.convert(shared))
        description = {"task": "segmentation", "spatial_dims": 2, "modality": target.modality}
        body = {"name": target.name, "uri": str(path), "cohort": target.cohort, **description}
        register(http, "/v1/datasets", body)


def request_rankings(http: httpx.Client, candidates: tuple[str, ...]) -> list[str]:
    """One ranking a target and protocol, with every measure that fits; their places."""
    found = []
    for target, protocol in itertools.product(TARGETS, RANKINGS):
        body = {"dataset": target.name, "candidates": list(candidates), "protocol": protocol}
        name = "-".join(map(str, protocol.values())) or "default"
        key = f"wnet-study-scores-{target.name}-{name}"
        found.append(f"/v1/rankings/{post(http, '/v1/rankings', body, key=key)['id']}")
    return found


def request_runs(http: httpx.Client, candidates: tuple[str, ...]) -> list[str]:
    """One finetune run a seed, target, candidate and method; their places."""
    found = []
    for seed, target, candidate, method in itertools.product(SEEDS, TARGETS, candidates, METHODS):
        protocol = {**FINETUNE, "seed": seed}
        body = {"dataset": target.name, "checkpoint": candidate, "method": method, "protocol": protocol}
        key = f"wnet-study-{target.name}-{candidate}-{method}-{seed}"
        found.append(f"/v1/finetune-runs/{post(http, '/v1/finetune-runs', body, key=key)['id']}")
    return found


def follow(http: httpx.Client, places: list[str], what: str) -> None:
    """Wait until everything at these places is over; say how far it is."""
    left, states = list(places), Counter[str]()
    while left:
        answers = [(place, http.get(place).json()["state"]) for place in left]
        states.update(state for _, state in answers if state not in ("queued", "running"))
        left = [place for place, state in answers if state in ("queued", "running")]
        print(f"\r{what}: {len(places) - len(left)}/{len(places)} {dict(states)}", end="", flush=True)
        time.sleep(POLL_SECONDS if left else 0)
    print()


def main() -> None:
    """Register, rank, finetune."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with data/ and checkpoints/")
    parser.add_argument("--work", type=Path, required=True, help="folder for what this command makes")
    parser.add_argument("--outcomes", type=Path, help="CSV file of outcomes to import instead of finetuning")
    arguments = parser.parse_args()
    shared, work = arguments.shared.resolve(), arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    with service(work, shared) as http:
        candidates = register_wnets(http, shared)
        register_targets(http, shared, work)
        follow(http, request_rankings(http, candidates), "rankings")
        if arguments.outcomes:
            with ZooRank(str(http.base_url)) as zoo:
                zoo.import_outcomes(read_long_rows(arguments.outcomes).rows)
        else:
            follow(http, request_runs(http, candidates), "finetune runs")
        print("done; benchmarks.evidence reads it from the same work folder")


if __name__ == "__main__":
    main()
