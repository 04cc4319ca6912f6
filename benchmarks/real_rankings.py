"""Rank real zoos over HTTP and write the tables.

    python -m benchmarks.real_rankings --shared DIR --work DIR --output docs/rankings.md

DIR holds `data/` and `checkpoints/` (see docs/rankings.md for which files). Datasets are converted to the
documented npz layout under the work folder; a second run goes on where the first one stopped.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import kendalltau

from benchmarks.serving import post, register, register_wnets, service
from models_zoo import architecture as registry
from worker.demo.zoo import source_data, write_weights
from worker.science.specs import Protocol
from worker.science.training.recipes.supervised import train_source

Array = NDArray[Any]
UNET_3D = {"architecture": "unet", "spatial_dims": 3, "parameters": {"in_channels": 1, "width": 8}}
CLASSIFIER = {"architecture": "unet_classifier", "spatial_dims": 2, "parameters": {"in_channels": 1, "width": 8}}
TARGET_XRAYS = 800
SOURCE_XRAYS = 1600
FAST = {"learning_rate": 1e-2}
MARKER = "<!-- what follows is written by benchmarks/real_rankings.py -->\n"
MEASURES = (
    "one_epoch_outcome",
    "one_epoch_threshold_free",
    "ac_corr",
    "ac_corr_per_channel",
    "ac_corr_excess",
    "logme",
    "transrate",
    "knn",
    "linear_probe",
)
STEPS = 20  # of each figure, printed as long work goes on


@dataclass(frozen=True)
class Source:
    """A checkpoint that this command trains: what on, with which labels, for how long (0: never)."""

    name: str
    task: str
    data: str
    make: Callable[[Path], tuple[Array, Array]]
    epochs: int
    build: dict[str, Any]


@dataclass(frozen=True)
class Study:
    """One ranking: a target (`convert` None: made by the study before), its candidates, the protocol."""

    name: str
    title: str
    dataset: dict[str, Any]
    convert: Callable[[Path], dict[str, Array]] | None
    candidates: tuple[str, ...]
    protocol: dict[str, Any] = field(default_factory=dict)


def _seeded(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def fundus(shared: Path, structure: str) -> dict[str, Array]:
    """IDRiD segmentation, one structure: images, masks, the official split."""
    with np.load(shared / "data/idrid_seg_2d/idrid_seg_256.npz") as stored:
        masks = np.unpackbits(stored["masks"], axis=-1)
        index = stored["mask_names"].tolist().index(structure)
        return {"images": stored["images"], "masks": masks[:, index], "split": stored["split"]}


def _hippocampus(shared: Path) -> tuple[dict[str, Array], Array]:
    """All cases, and which of the training cases belong to the sources (every second one)."""
    with np.load(shared / "data/msd_hippocampus_3d/msd_hippocampus_48x64x48.npz") as stored:
        arrays = {name: stored[name] for name in ("images", "labels", "split")}
    of_sources = np.zeros(len(arrays["split"]), dtype=bool)
    of_sources[np.flatnonzero(arrays["split"] == "train")[::2]] = True
    return arrays, of_sources


def hippocampus_target(shared: Path) -> dict[str, Array]:
    """The cases that no source saw, anterior and posterior."""
    arrays, of_sources = _hippocampus(shared)
    kept = ~of_sources
    return {"images": arrays["images"][kept], "masks": arrays["labels"][kept], "split": arrays["split"][kept]}


def hippocampus_whole(shared: Path) -> tuple[Array, Array]:
    """Another task: anterior and posterior as one."""
    arrays, of_sources = _hippocampus(shared)
    return arrays["images"][of_sources][:, None], (arrays["labels"][of_sources] > 0).astype(np.uint8)


def hippocampus_inverted(shared: Path) -> tuple[Array, Array]:
    """A domain shift: the same parts, intensities turned round."""
    arrays, of_sources = _hippocampus(shared)
    return 255 - arrays["images"][of_sources][:, None], arrays["labels"][of_sources]


def hippocampus_shuffled(shared: Path) -> tuple[Array, Array]:
    """Random labels: every case with another's mask, mirrored along every axis."""
    images, masks = hippocampus_whole(shared)
    return images, np.roll(masks, 1, axis=0)[:, ::-1, ::-1, ::-1].copy()


def balls(shared: Path) -> tuple[Array, Array]:
    """Far domain: bright balls (to be found) among dim bars in noise."""
    random = _seeded(3)
    grid = np.stack(np.mgrid[:48, :64, :48])
    images, masks = [], []
    for _ in range(80):
        volume = random.normal(80, 15, (48, 64, 48))
        mask = np.zeros(volume.shape, bool)
        for _ in range(4):
            centre = random.uniform(8, 40, 3)
            mask |= np.sqrt(((grid - centre[:, None, None, None]) ** 2).sum(0)) < random.uniform(4, 8)
        volume[:, random.integers(64), :] += 60
        volume[mask] += 70
        images.append(np.clip(volume, 0, 255).astype(np.uint8))
        masks.append(mask.astype(np.uint8))
    return np.stack(images)[:, None], np.stack(masks)


def _xrays(shared: Path) -> dict[str, Array]:
    with np.load(shared / "data/pneumoniamnist_2d/pneumoniamnist_rebuilt.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    order = _seeded(0).permutation(len(arrays["train_images"]))
    return {
        **arrays,
        "target_images": arrays["train_images"][order[:TARGET_XRAYS]],
        "target_labels": arrays["train_labels"][order[:TARGET_XRAYS], 0],
        "source_images": arrays["train_images"][order[TARGET_XRAYS:][:SOURCE_XRAYS]],
        "source_labels": arrays["train_labels"][order[TARGET_XRAYS:][:SOURCE_XRAYS], 0],
    }


def xray_target(shared: Path) -> dict[str, Array]:
    """Normal or pneumonia: images that no source saw, the stored validation and test images."""
    arrays = _xrays(shared)
    parts = {"train": "target", "val": "val", "test": "test"}
    return {
        "images": np.concatenate([arrays[f"{part}_images"] for part in parts.values()]),
        "labels": np.concatenate([arrays[f"{part}_labels"].ravel() for part in parts.values()]),
        "split": np.concatenate([np.full(len(arrays[f"{part}_images"]), name) for name, part in parts.items()]),
    }


def xray_same(shared: Path) -> tuple[Array, Array]:
    """Near domain: the same task on other patients' images."""
    arrays = _xrays(shared)
    return arrays["source_images"][:, None], arrays["source_labels"]


def xray_rotation(shared: Path) -> tuple[Array, Array]:
    """Self-supervision: by how many quarter turns was the image rotated?"""
    images = _xrays(shared)["source_images"]
    turns = _seeded(1).integers(4, size=len(images))
    return np.stack([np.rot90(image, turn) for image, turn in zip(images, turns, strict=True)])[:, None], turns


def xray_shuffled(shared: Path) -> tuple[Array, Array]:
    """Random labels."""
    images, labels = xray_same(shared)
    return images, _seeded(2).permutation(labels)


def _small_grey(images: Array) -> Array:
    """(N, H, W, 3) to (N, 1, 28, 28), by averaging channels and area."""
    grey = torch.from_numpy(images).float().mean(-1)[:, None]
    small = torch.nn.functional.interpolate(grey, size=(28, 28), mode="area")
    return small.round().to(torch.uint8).numpy()


def nuclei_modality(shared: Path) -> tuple[Array, Array]:
    """Far domain: which microscope took this picture of nuclei?"""
    with np.load(shared / "data/dsb2018_nuclei_2d/dsb2018_nuclei_128.npz") as stored:
        return _small_grey(stored["images"]), np.unique(stored["modality_guess"], return_inverse=True)[1]


def fundus_grade(shared: Path) -> tuple[Array, Array]:
    """Far domain: referable diabetic retinopathy or not, in small grey fundus photographs."""
    with np.load(shared / "data/idrid_grading_2d/idrid_grading_128.npz") as stored:
        return _small_grey(stored["images"]), (stored["dr_grade"] >= 2).astype(np.int64)


SOURCES = (
    Source(
        "hippocampus-whole",
        "hippocampus, undivided",
        "MSD hippocampus, other cases",
        hippocampus_whole,
        4,
        UNET_3D,
    ),
    Source(
        "hippocampus-inverted",
        "the same parts",
        "MSD hippocampus, other cases, inverted",
        hippocampus_inverted,
        4,
        UNET_3D,
    ),
    Source("balls", "balls among bars", "generated volumes", balls, 4, UNET_3D),
    Source(
        "hippocampus-shuffled", "random labels", "MSD hippocampus, other cases", hippocampus_shuffled, 4, UNET_3D
    ),
    Source("never-trained-3d", "none", "none", hippocampus_whole, 0, UNET_3D),
    Source("xray-same", "normal or pneumonia", "PneumoniaMNIST, other images", xray_same, 6, CLASSIFIER),
    Source(
        "xray-rotation",
        "quarter turns (self-supervised)",
        "PneumoniaMNIST, other images",
        xray_rotation,
        6,
        CLASSIFIER,
    ),
    Source("nuclei-modality", "microscope", "DSB2018 nuclei, grey, 28 px", nuclei_modality, 12, CLASSIFIER),
    Source("fundus-grade", "referable retinopathy", "IDRiD grading, grey, 28 px", fundus_grade, 12, CLASSIFIER),
    Source("xray-shuffled", "random labels", "PneumoniaMNIST, other images", xray_shuffled, 6, CLASSIFIER),
    Source("never-trained-2d", "none", "none", xray_same, 0, CLASSIFIER),
)
VOLUMES = tuple(source.name for source in SOURCES if source.build is UNET_3D)
XRAYS = tuple(source.name for source in SOURCES if source.build is CLASSIFIER)


def studies(wnets: tuple[str, ...]) -> tuple[Study, ...]:
    """The rankings: two targets at two learning rates for the W-Nets, two for the checkpoints trained here."""
    photograph = {"task": "segmentation", "spatial_dims": 2, "modality": "fundus photograph", "cohort": "IDRiD"}
    return (
        Study("idrid-disc", "Optic disc", photograph, lambda s: fundus(s, "OD"), wnets),
        Study("idrid-disc", "Optic disc, at ten times the learning rate", photograph, None, wnets, FAST),
        Study("idrid-exudates", "Hard exudates", photograph, lambda s: fundus(s, "EX"), wnets),
        Study("idrid-exudates", "Hard exudates, at ten times the learning rate", photograph, None, wnets, FAST),
        Study(
            "hippocampus",
            "Hippocampus, anterior and posterior, MR volumes",
            {"task": "segmentation", "spatial_dims": 3, "modality": "MR"},
            hippocampus_target,
            VOLUMES,
        ),
        Study(
            "xrays",
            "Pneumonia, chest X-rays",
            {"task": "classification", "spatial_dims": 2, "modality": "X-ray"},
            xray_target,
            XRAYS,
            {"batch_size": 16},
        ),
    )


def train_sources(shared: Path, folder: Path) -> None:
    """Train what is not there yet."""
    for number, source in enumerate(SOURCES):
        path = folder / f"{source.name}.safetensors"
        if path.is_file():
            continue
        images, labels = source.make(shared)
        torch.manual_seed(number)
        network = registry.build(
            source.build["architecture"],
            spatial_dims=source.build["spatial_dims"],
            classes=int(labels.max()) + 1,
            **source.build["parameters"],
        )
        task = "classification" if source.build is CLASSIFIER else "segmentation"
        size = 16 if source.build is CLASSIFIER else 4
        protocol = Protocol(batch_size=size, seed=number)
        data = source_data(images, labels, task=task)
        train_source(network, data, protocol, epochs=source.epochs, progress=_printer(source.name))
        write_weights(network, path)


def _printer(name: str) -> Callable[[int, int], None]:
    def show(done: int, total: int) -> None:
        if done % max(total // STEPS, 1) == 0:
            print(f"\r{name}: step {done}/{total}", end="\n" if done == total else "", flush=True)

    return show


def register_sources(http: httpx.Client, folder: Path, shared: Path) -> None:
    """The checkpoints that this command trained."""
    for source in SOURCES:
        _, labels = source.make(shared)
        build = source.build
        card = {"source_task": source.task, "source_data": source.data, "normalisation": {"scale": "unit"}}
        body = {
            "name": source.name,
            "uri": str(folder / f"{source.name}.safetensors"),
            "architecture": build["architecture"],
            "spatial_dims": build["spatial_dims"],
            "parameters": {**build["parameters"], "classes": int(labels.max()) + 1},
            "card": card,
        }
        register(http, "/v1/checkpoints", body)


def rank(http: httpx.Client, study: Study, shared: Path, folder: Path) -> dict[str, Any]:
    """Register the target, ask for the ranking, wait for it."""
    path = folder / f"{study.name}.npz"
    if study.convert is not None and not path.is_file():
        np.savez_compressed(path, **study.convert(shared))
    register(http, "/v1/datasets", {"name": study.name, "uri": str(path), **study.dataset})
    body = {
        "dataset": study.name,
        "candidates": list(study.candidates),
        "protocol": study.protocol,
        "measures": MEASURES,
        "order_by": "one_epoch_outcome",
    }
    location = f"/v1/rankings/{post(http, '/v1/rankings', body)['id']}"
    while (answer := http.get(location).json())["state"] in ("queued", "running"):
        finished = sum(row["state"] in ("done", "failed") for row in answer["ranked"])
        print(f"\r{study.name}: {finished}/{len(answer['ranked'])} candidates", end="", flush=True)
        time.sleep(1)
    print(f"\r{study.name}: done, {len(answer['ranked'])} candidates")
    return answer


def table(study: Study, ranking: dict[str, Any]) -> str:
    """The ranked list in Markdown: score (place) of every measure, flags, seconds."""
    measures = ranking["measures"]
    lines = [
        f"## {study.title}",
        "",
        f"Protocol: {_protocol(ranking['protocol'])}.",
        "",
        "| | candidate | " + " | ".join(measures) + " | flags | seconds |",
        "|---|---|" + "---|" * len(measures) + "---|---|",
    ]
    for row in ranking["ranked"]:
        cells = [_score(row["scores"].get(measure)) for measure in measures]
        flags = ", ".join(sorted({*row["flags"], *_score_flags(row)})) or row["reason"] or ""
        name = row["candidate"]["name"]
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.0f}"
        lines.append(f"| {row['position'] or '–'} | {name} | " + " | ".join(cells) + f" | {flags} | {seconds} |")
    return "\n".join(lines) + "\n"


def _protocol(protocol: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in protocol.items() if value is not None)


def _score(score: dict[str, Any] | None) -> str:
    if score is None or score["value"] is None:
        return "–"
    place = f" ({score['position']})" if score["position"] else ""
    return f"{score['value']:.4g}{place}"


def _score_flags(row: dict[str, Any]) -> set[str]:
    return {flag for score in row["scores"].values() for flag in score["flags"]}


def agreement_table(pairs: list[tuple[Study, dict[str, Any]]]) -> str:
    """Kendall's tau between the orders that one measure gives the same candidates at both learning rates."""
    by_target: dict[str, list[dict[str, Any]]] = {}
    for study, ranking in pairs:
        by_target.setdefault(study.name, []).append(ranking)
    twice = {name: rankings for name, rankings in by_target.items() if len(rankings) == 2}
    lines = ["## How much the learning rate changes the order", "", "Kendall's tau between both orders.", ""]
    lines += ["| measure | " + " | ".join(twice) + " |", "|---|" + "---|" * len(twice)]
    for measure in MEASURES:
        taus = [f"{_tau(measure, *rankings):.2f}" for rankings in twice.values()]
        lines.append(f"| {measure} | " + " | ".join(taus) + " |")
    return "\n".join(lines) + "\n"


def _tau(measure: str, one: dict[str, Any], other: dict[str, Any]) -> float:
    first, second = (
        {row["candidate"]["name"]: row["scores"][measure]["value"] for row in ranking["ranked"]}
        for ranking in (one, other)
    )
    names = sorted(first)
    return float(kendalltau([first[name] for name in names], [second[name] for name in names]).statistic)


def sources_table() -> str:
    """What the checkpoints were trained on."""
    lines = ["| checkpoint | source task | source data |", "|---|---|---|"]
    lines += [f"| {source.name} | {source.task} | {source.data} |" for source in SOURCES]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train, register, rank, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with data/ and checkpoints/")
    parser.add_argument("--work", type=Path, required=True, help="folder for what this command makes")
    parser.add_argument("--output", type=Path, help="Markdown file for the tables")
    arguments = parser.parse_args()
    shared, work = arguments.shared.resolve(), arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    train_sources(shared, work)
    with service(work, shared) as http:
        wnets = register_wnets(http, shared)
        register_sources(http, work, shared)
        pairs = [(study, rank(http, study, shared, work)) for study in studies(wnets)]
    tables = [table(study, ranking) for study, ranking in pairs]
    text = "\n".join([sources_table(), *tables, agreement_table(pairs)])
    print(text)
    if arguments.output:
        before = arguments.output.read_text().split(MARKER)[0] if arguments.output.is_file() else ""
        arguments.output.write_text(before + MARKER + "\n" + text)


if __name__ == "__main__":
    main()
