"""How well every measure told outcomes: a published table, and the W-Net study, both through the ledger.

    python -m benchmarks.evidence --shared DIR --work DIR --output docs/evidence.md

DIR holds `evidence/`, `data/` and `checkpoints/`; the work folder is that of `benchmarks.wnet_study`, which comes
first. The published table is converted from wide to long rows and imported over HTTP.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import httpx
import matplotlib as mpl
import matplotlib.pyplot as plt

from benchmarks.serving import register_wnets, service
from benchmarks.wnet_study import FINETUNE, RANKINGS, TARGETS, follow, request_rankings
from service.client.http import ZooRank
from service.ledger.statistics.agreement import agreement
from service.ledger.statistics.rank import weighted_tau
from service.ledger.statistics.target_record import TargetRecord

Json = dict[str, Any]
Rows = list[dict[str, Any]]
MARKER = "<!-- what follows is written by benchmarks/evidence.py -->\n"
PUBLISHED = "github.com/DovileDo/transferability-in-medical-imaging (arXiv 2412.20172)"
FOLDER = "evidence/medmnist_source_transfer"
SCORES = ("logme", "leep", "nleep", "parc", "ncti", "sfda", "lp", "fu")
ORGANS = "organ CT"  # three targets cut from the same scans along three axes
MODALITIES = {
    "bloodmnist": "microscopy",
    "breastmnist": "ultrasound",
    "chestmnist": "X-ray",
    "dermamnist": "dermatoscopy",
    "octmnist": "OCT",
    "organamnist": "CT",
    "organcmnist": "CT",
    "organsmnist": "CT",
    "pathmnist": "histology",
    "pneumoniamnist": "X-ray",
    "retinamnist": "fundus photograph",
    "tissuemnist": "microscopy",
}
EXPECTED = {  # weighted tau, Kendall's tau, regret in AUC points, hits: recomputed from the table elsewhere
    "logme": (0.335, 0.229, 0.66, 5),
    "leep": (0.351, 0.231, 0.55, 5),
    "nleep": (0.411, 0.305, 1.26, 4),
    "parc": (0.297, 0.215, 1.42, 3),
    "lp": (0.440, 0.330, 0.94, 4),
    "fu": (0.410, 0.253, 0.53, 6),
    "history_prior": (0.557, 0.457, 0.52, 7),
}
LONG = 600.0  # seconds, for permutations
DISCS = "optic disc and cup segmentation"
VESSELS = "retinal vessel segmentation"
IMPORTED = "W-Net study: mean of four runs"  # the source of benchmarks/wnet_outcomes.csv
IMPORTED_LINE = "The outcomes were imported from `benchmarks/wnet_outcomes.csv`; the rankings are this code's."


# ---- the published table -------------------------------------------------------------------------------------


def long_rows(shared: Path) -> Rows:
    """The wide tables as rows: an outcome a filled AUC cell, a score a filled score cell."""
    rows = _rows_of(shared / FOLDER / "AUCs_dataset.csv", kind="outcome", name="auc")
    for measure in SCORES:
        rows += _rows_of(shared / FOLDER / f"{measure}_dataset.csv", kind="score", name=measure)
    return rows


def _rows_of(path: Path, *, kind: str, name: str) -> Rows:
    with path.open(newline="") as file:
        cells = [
            (target, line["source"], cell)
            for line in csv.DictReader(file)
            for target, cell in line.items()
            if target in MODALITIES and cell
        ]
    return [
        {
            "target": target,
            "candidate": f"resnet18-{source}",
            "kind": kind,
            "name": name,
            "value": float(cell),
            "higher_is_better": True,
            "task": "classification",
            "modality": MODALITIES[target],
            "cohort": ORGANS if target.startswith("organ") else None,
        }
        for target, source, cell in cells
    ]


def static_mean(rows: Rows) -> list[TargetRecord]:
    """A baseline as a measure: the raw mean AUC on the other scored targets, siblings kept."""
    scored = {row["target"] for row in rows if row["kind"] == "score"}
    aucs: dict[str, dict[str, float]] = {target: {} for target in sorted(scored)}
    for row in rows:
        if row["kind"] == "outcome" and row["target"] in scored:
            aucs[row["target"]][row["candidate"]] = row["value"]
    found = []
    for target, own in aucs.items():
        others = [others for other, others in aucs.items() if other != target]
        means = {name: fmean(known[name] for known in others if name in known) for name in own}
        found.append(TargetRecord(target, own, {"static_mean": means}))
    return found


def published_table(zoo: ZooRank, shared: Path) -> tuple[str, Json]:
    """Import, ask for the agreement, hold it against the known figures."""
    rows = long_rows(shared)
    zoo.import_outcomes(rows, source=PUBLISHED)
    found = zoo.agreement(zoo=PUBLISHED, published=False, scored=True, thorough=True, by_target=True)
    outcomes = sum(row["kind"] == "outcome" for row in rows)
    lines = [
        f"{outcomes} outcomes, {len(rows) - outcomes} scores: {len({r['candidate'] for r in rows})} candidates, "
        f"{len({r['target'] for r in rows})} targets with outcomes, {len(found['targets'])} with scores too.",
        "",
        _table(found, unit="AUC points", expected=EXPECTED),
        "",
        _baseline_line(rows),
        "",
        _coverage("Published table", found, "AUC points"),
        "",
        "### Target by target: weighted tau (regret)",
        "",
        _by_target(found),
    ]
    return "\n".join(lines), found


def _baseline_line(rows: Rows) -> str:
    """The static mean's figures, from the same outcomes."""
    found = agreement(static_mean(rows), "static_mean", thorough=False)
    assert found is not None
    return (
        f"Baseline without a look at the target, the raw mean AUC on the other scored targets (siblings kept): "
        f"weighted tau {found.weighted_tau:.3f}, Kendall tau {found.kendall_tau:.3f}, regret "
        f"{100 * found.regret:.2f}, {found.hits:.0f} hits of {found.targets}."
    )


# ---- the W-Net study -----------------------------------------------------------------------------------------


def wnet_study(http: httpx.Client, zoo: ZooRank, shared: Path) -> tuple[str, dict[str, Json]]:
    """Agreement under both protocols, over all candidates and over groups; ceilings; methods compared."""
    candidates = register_wnets(http, shared)
    rankings = request_rankings(http, candidates)
    follow(http, rankings, "rankings")
    first, second = (place.split("/")[-1] for place in rankings[: len(RANKINGS)])
    runs = _runs(zoo)
    zoo_of_outcomes = "finetune run" if runs else IMPORTED
    asked = {"task": "segmentation", "zoo": zoo_of_outcomes, "thorough": True, "by_target": True}
    slices = {
        "all": zoo.agreement(**asked, ranking=first),
        "all-fast": zoo.agreement(**asked, ranking=second),
        "discs": zoo.agreement(**asked, ranking=first, source_task=DISCS),
        "vessels": zoo.agreement(**asked, ranking=first, source_task=VESSELS),
    }
    unit = "Dice points"
    fast = RANKINGS[1]["learning_rate"]
    parts = [
        *(_outcome_parts(runs, candidates) if runs else [IMPORTED_LINE]),
        "### Every measure, all twelve candidates, one epoch at the default protocol",
        _table(slices["all"], unit=unit),
        _coverage("W-Nets", slices["all"], unit),
        f"### The same at a learning rate of {fast}, that of the finetune runs",
        _table(slices["all-fast"], unit=unit),
        _coverage("W-Nets", slices["all-fast"], unit),
        "### Target by target, default protocol: weighted tau (regret)",
        _by_target(slices["all"]),
        f"### Target by target, learning rate {fast}",
        _by_target(slices["all-fast"]),
        f"### Within the {slices['discs']['targets'][0]['candidates']} seeds of one source task, disc and cup",
        _table(slices["discs"], unit=unit),
        _coverage("Disc and cup", slices["discs"], unit),
        f"### Within the {slices['vessels']['targets'][0]['candidates']} vessel networks",
        _table(slices["vessels"], unit=unit),
    ]
    return "\n\n".join(parts), slices


def _outcome_parts(runs: list[Run], candidates: tuple[str, ...]) -> list[str]:
    """What the finetune runs themselves say; only where the runs are this service's own."""
    return [
        f"{len(runs)} runs: {len(candidates)} candidates, {len(TARGETS)} targets, vanilla and AC-Norm, two seeds; "
        + ", ".join(f"{name} {value}" for name, value in FINETUNE.items())
        + ".",
        "### Outcomes",
        _outcome_table(runs),
        "### AC-Norm against vanilla finetuning",
        _methods_table(runs),
        "### The ceiling",
        _ceiling_table(runs),
    ]


@dataclass(frozen=True)
class Run:
    """One finetune run's test Dice."""

    target: str
    candidate: str
    method: str
    seed: int
    value: float


def _runs(zoo: ZooRank) -> list[Run]:
    rows = zoo.outcomes(name="dice", source="finetune run")
    return [Run(**{field.name: row[field.name] for field in fields(Run)}) for row in rows]


def _mean(runs: list[Run], **fixed: Any) -> float:
    return fmean(run.value for run in runs if all(getattr(run, key) == value for key, value in fixed.items()))


def _outcome_table(runs: list[Run]) -> str:
    names = [target.name for target in TARGETS]
    candidates = sorted({run.candidate for run in runs})
    lines = [
        "Test Dice, mean of the four runs.",
        "",
        "| candidate | " + " | ".join(names) + " |",
        "|---|" + "---:|" * 4,
    ]
    for candidate in candidates:
        cells = [f"{_mean(runs, target=name, candidate=candidate):.3f}" for name in names]
        lines.append(f"| {candidate} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _methods_table(runs: list[Run]) -> str:
    lines = [
        "Test Dice of AC-Norm less that of vanilla, of the same candidate and seed.",
        "",
        "| target | mean | standard deviation | above 0 |",
        "|---|---:|---:|---:|",
    ]
    for target in TARGETS:
        own = {(r.candidate, r.seed, r.method): r.value for r in runs if r.target == target.name}
        pairs = sorted({(candidate, seed) for candidate, seed, _ in own})
        differences = [own[(*pair, "ac_norm")] - own[(*pair, "vanilla")] for pair in pairs]
        above = sum(value > 0 for value in differences) / len(differences)
        lines.append(f"| {target.name} | {fmean(differences):+.4f} | {pstdev(differences):.4f} | {above:.0%} |")
    return "\n".join(lines)


def _ceiling_table(runs: list[Run]) -> str:
    """What no measure can be expected to beat: how well one seed's outcomes tell the other's."""
    lines = [
        "Weighted tau between the outcome orders of seed 1 and seed 2 (means of both methods).",
        "",
        "| target | all twelve | disc and cup |",
        "|---|---:|---:|",
    ]
    means = []
    for target in TARGETS:
        names = sorted({run.candidate for run in runs})
        found = []
        for chosen in (names, [name for name in names if "disccup" in name]):
            seeds = [[_mean(runs, target=target.name, candidate=n, seed=seed) for n in chosen] for seed in (1, 2)]
            found.append(float(weighted_tau(*seeds)))
        means.append(found)
        lines.append(f"| {target.name} | {found[0]:.2f} | {found[1]:.2f} |")
    lines.append("| mean | " + " | ".join(f"{fmean(column):.2f}" for column in zip(*means, strict=True)) + " |")
    return "\n".join(lines)


# ---- tables and plots ----------------------------------------------------------------------------------------


def _table(found: Json, *, unit: str, expected: Mapping[str, tuple[float, ...]] | None = None) -> str:
    lines = [
        "| measure | weighted tau | 95 % over targets | over candidates | Kendall tau | Pearson r | p "
        f"| regret ({unit}) | hits | targets | no ranking |" + (" expected |" if expected else ""),
        "|---|---:|---|---|---:|---:|---:|---:|---:|---:|---:|" + ("---|" if expected else ""),
    ]
    for name, own in found["measures"].items():
        if not own["targets"]:
            continue
        cells = [
            name,
            f"{own['weighted_tau']:.3f}",
            _interval(own, "targets"),
            _interval(own, "candidates"),
            f"{own['kendall_tau']:.3f}",
            f"{own['pearson']:.3f}",
            f"{own['p']:.4f}",
            f"{100 * own['regret']:.2f}",
            f"{own['hits']:.3g}",
            str(own["targets"]),
            str(own["no_ranking"] or ""),
        ]
        if expected:
            cells.append(_held_against(own, expected.get(name)))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _held_against(own: Json, known: tuple[float, ...] | None) -> str:
    if known is None:
        return ""
    shown = (
        round(own["weighted_tau"], 3),
        round(own["kendall_tau"], 3),
        round(100 * own["regret"], 2),
        round(own["hits"]),
    )
    return "equal" if shown == known else f"differs: {known}"


def _interval(own: Json, over: str) -> str:
    ends = own["intervals"].get(over)
    return f"{ends[0]:.2f} to {ends[1]:.2f}" if ends else ""


def _coverage(what: str, found: Json, unit: str) -> str:
    own = found["answers"]

    def points(name: str) -> str:
        return "none" if own[name] is None else f"{100 * own[name]:.2f}"

    def share(name: str) -> str:
        return "none" if own[name] is None else f"{own[name]:.2f}"

    kinds = ", ".join(f"{kind} {count}" for kind, count in own["kinds"].items())
    return (
        f"{what}: left to answer each of {own['targets']} targets from the others, the kinds of answer were "
        f"{kinds}, of {share('named')} candidates in the mean. Regret in {unit} of the first choice: "
        f"{points('regret')} came, {points('regret_expected')} was expected. Within a point of the best: "
        f"{share('within')} came, {share('within_expected')} was expected; one of the answer's candidates was in "
        f"{share('covered')}."
    )


def _by_target(found: Json) -> str:
    names = [target["name"] for target in found["targets"]]
    lines = ["| measure | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for measure, own in found["measures"].items():
        cells = {
            one["target"]: f"{one['weighted_tau']:.2f} ({100 * one['regret']:.1f})" for one in own["by_target"]
        }
        lines.append(f"| {measure} | " + " | ".join(cells.get(name, "") for name in names) + " |")
    return "\n".join(lines)


def plot_taus(found: Json, path: Path, title: str) -> None:
    """Every measure's mean weighted tau with its interval over targets, and one mark a target."""
    measures = [(name, own) for name, own in found["measures"].items() if own["targets"]][::-1]
    figure, axes = plt.subplots(figsize=(8, 0.32 * len(measures) + 1.4))
    for place, (name, own) in enumerate(measures):
        colour = "#14606b" if name in ("fused", "history_prior") else "#66757c"
        low, high = own["intervals"].get("targets", (own["weighted_tau"],) * 2)
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
        taus = [one["weighted_tau"] for one in own["by_target"]]
        axes.plot(taus, [place] * len(taus), "|", color=colour, alpha=0.6, markersize=9)
        axes.plot(own["weighted_tau"], place, "o", color=colour)
    axes.axvline(0, color="#1d2a30", linewidth=0.8)
    axes.set_yticks(range(len(measures)), [name for name, _ in measures])
    axes.set_xlim(-1, 1)
    axes.set_xlabel("weighted tau: mean, 95 % interval over targets, each target")
    axes.set_title(title)
    _save(figure, path)


def plot_regrets(found: Json, path: Path, title: str, unit: str) -> None:
    """What following each measure's first choice costs."""
    measures = [(name, own) for name, own in found["measures"].items() if own["targets"]]
    measures.sort(key=lambda pair: -pair[1]["regret"])
    figure, axes = plt.subplots(figsize=(8, 0.32 * len(measures) + 1.4))
    colours = ["#14606b" if name in ("fused", "history_prior") else "#9fb3b8" for name, _ in measures]
    axes.barh([name for name, _ in measures], [100 * own["regret"] for _, own in measures], color=colours)
    axes.set_xlabel(f"mean regret of the first choice, {unit}")
    axes.set_title(title)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Import, ask, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with evidence/, data/ and checkpoints/")
    parser.add_argument("--work", type=Path, required=True, help="the work folder of benchmarks.wnet_study")
    parser.add_argument("--output", type=Path, required=True, help="Markdown file; the plots lie beside it")
    arguments = parser.parse_args()
    shared, work, output = (path.resolve() for path in (arguments.shared, arguments.work, arguments.output))
    mpl.rcParams["svg.hashsalt"] = "zoorank"
    with service(work, shared) as http, ZooRank(str(http.base_url), timeout=LONG) as zoo:
        study, slices = wnet_study(http, zoo, shared)
        table, published = published_table(zoo, shared)
    plots: list[tuple[Callable[..., None], str, tuple[Any, ...]]] = [
        (plot_taus, "evidence-published.svg", (published, "Published table: 11 targets, 15 candidates")),
        (plot_taus, "evidence-wnets.svg", (slices["all"], "W-Nets: 4 targets, 12 candidates")),
        (plot_regrets, "evidence-regret.svg", (slices["all"], "W-Nets: 4 targets, 12 candidates", "Dice points")),
    ]
    for draw, name, (found, *more) in plots:
        draw(found, output.parent / name, *more)
    pictures = list(itertools.starmap("![{}]({})".format, [(p[2][1], p[1]) for p in plots]))
    text = "\n\n".join(["## The published table", table, pictures[0], "## The W-Net study", *pictures[1:], study])
    before = output.read_text().split(MARKER)[0] if output.is_file() else ""
    output.write_text(before + MARKER + "\n" + text + "\n")
    print(text)


if __name__ == "__main__":
    main()
