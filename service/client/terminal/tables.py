"""The ranked list, and what a ranking costs, on a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

Json = dict[str, Any]

_STYLES = {"done": "green", "running": "yellow", "queued": "dim", "failed": "red", "canceled": "dim"}


def cost(found: Json) -> str:
    """What a ranking would take, in words."""
    null, steps = found["null_epochs_per_candidate"], found["steps"]
    each = f"{found['epochs_per_candidate']} training epochs each" + (
        f", {null} on permuted labels" if null else ""
    )
    total = f"{found['epochs']} epochs" + ("" if steps is None else f", {steps} steps")
    seconds = found["seconds"]
    time = "Time: not known; " if seconds is None else f"About {_duration(seconds)}, by "
    who = "1 candidate" if found["candidates"] == 1 else f"{found['candidates']} candidates"
    return f"{who}, {each}: {total} in all.\n{time}{found['seconds_from']}."


def progress(ranking: Json) -> RenderableType:
    """Where each candidate stands, while the ranking runs."""
    table = Table(title=f"{ranking['id']} for {ranking['dataset']['name']}: {ranking['state']}", box=None)
    for column in ("candidate", "state", "stage", "steps"):
        table.add_column(column)
    for row in sorted(ranking["ranked"], key=lambda row: str(row["candidate"]["name"])):
        steps = f"{row['steps_done']}/{row['steps_total']}" if row["steps_total"] else ""
        table.add_row(row["candidate"]["name"], _state(row), row["stage"] or "", steps)
    return table


def without_answer(ranking: Json) -> str | None:
    """Why an ended ranking tells nobody which candidate is best; None when it does."""
    if ranking["state"] == "canceled":
        return f"ranking {ranking['id']} was canceled"
    if not any(row["position"] for row in ranking["ranked"]):
        why = "all failed, or their scores are missing or flagged"
        return f"no candidate got a place by {ranking['order_by']}: {why}"
    return None


def ranked_list(ranking: Json, *, url: str) -> RenderableType:
    """The list, best first; below it every measure with its own order; then the notes."""
    title = f"{ranking['dataset']['name']}: candidates by {ranking['order_by']}"
    table = Table(title=title, title_justify="left")
    table.add_column("#", justify="right")
    table.add_column("candidate", overflow="fold")
    table.add_column("state")
    table.add_column(ranking["order_by"], justify="right")
    table.add_column("flags")
    table.add_column("seconds", justify="right")
    for row in ranking["ranked"]:
        own = score(row["scores"].get(ranking["order_by"]))
        flags = ", ".join(_flags(row, ranking["order_by"]))
        table.add_row(_number(row), row["candidate"]["name"], _state(row), own, flags, _seconds(row))
    return Group(table, _measures(ranking), *(Text(line) for line in _below(ranking, url)))


def _measures(ranking: Json) -> Table:
    """Every measure, the candidates in its own order with their scores."""
    table = Table(title="every measure's own order", title_justify="left", show_lines=True)
    table.add_column("measure, and its record", overflow="fold")
    table.add_column("candidates (score; * not placed, with its flags)")
    derived = [name for name in ranking["track_record"]["measures"] if name not in ranking["measures"]]
    for measure in [*derived, *ranking["measures"]]:
        found = [(row["candidate"]["name"], row["scores"].get(measure)) for row in ranking["ranked"]]
        ordered = sorted(found, key=lambda pair: (pair[1] or {}).get("position") or len(found) + 1)
        in_order = ", ".join(_in_order(name, own) for name, own in ordered if own)
        if in_order:
            table.add_row(f"{measure}\n{agreement(ranking['track_record']['measures'].get(measure))}", in_order)
    return table


def agreement(found: Json | None) -> str:
    """A measure's track record in short."""
    if found is None or found["weighted_tau"] is None:
        return "no history yet"
    interval = found["intervals"].get("targets") or found["intervals"].get("candidates")
    ends = f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""
    return f"tau {found['weighted_tau']:.2f}{ends} on {found['targets']}"


def _in_order(name: str, own: Json) -> str:
    value = "n/a" if own["value"] is None else f"{own['value']:.4g}"
    return f"{name} {value}" if own["position"] else f"{name} {value} * {' '.join(own['flags'])}"


def score(found: Json | None) -> str:
    """A score with its place; a star marks one that can't be placed."""
    if found is None:
        return ""
    if found["value"] is None:
        return "n/a"
    place = f" ({found['position']})" if found["position"] else " *"
    return f"{found['value']:.4g}{place}"


def _number(row: Json) -> str:
    return str(row["position"]) if row["position"] else "-"


def _state(row: Json) -> Text:
    return Text(row["state"], style=_STYLES.get(row["state"], ""))


def _flags(row: Json, order_by: str) -> list[str]:
    """The candidate's own flags, and those of the score that orders the list."""
    return [*row["flags"], *row["scores"].get(order_by, {}).get("flags", [])]


def _seconds(row: Json) -> str:
    reused = " reused" if row["reused_from"] else ""
    return ("" if row["seconds"] is None else f"{row['seconds']:.1f}") + reused


def _below(ranking: Json, url: str) -> list[str]:
    failed = [f"{row['candidate']['name']}: {row['reason']}" for row in ranking["ranked"] if row["reason"]]
    answer = [ranking["answer"]["text"]] if ranking["answer"] else []
    past = [f"Record (weighted tau with outcomes): {ranking['track_record']['similar']}."]
    lines = [*answer, *failed, *past, *ranking["notes"]]
    if ranking["finetune_seconds"] is not None:
        lines.append(f"A full finetune of the first takes about {_duration(ranking['finetune_seconds'])}.")
    if ranking["finetune_runs"]:
        lines.append(f"Finetune runs: {', '.join(ranking['finetune_runs'])}")
    return [*lines, f"{url}/rankings/{ranking['id']}"]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def ledger(rows: Iterable[Json]) -> Table:
    """Rows of the ledger."""
    table = Table()
    for column in ("target", "candidate", "kind", "name", "value", "seed", "method", "source"):
        table.add_column(column, overflow="fold", justify="right" if column == "value" else "left")
    for row in rows:
        known = (row["target"], row["candidate"], row["kind"], row["name"], f"{row['value']:.4g}")
        seed = "" if row["seed"] is None else str(row["seed"])
        table.add_row(*map(Text, known), seed, row["method"] or "", Text(row["source"]))
    return table


def agreements(found: Json) -> RenderableType:
    """Every measure's track record."""
    table = Table(title=f"agreement with outcomes on {len(found['targets'])} targets", title_justify="left")
    for column in ("measure", "weighted tau", "95 % over targets", "Kendall tau", "first was best", "regret"):
        table.add_column(column, justify="left" if column == "measure" else "right")
    for name, own in found["measures"].items():
        if own["weighted_tau"] is None:
            table.add_row(name, "no ranking")
            continue
        ends = own["intervals"].get("targets")
        table.add_row(
            name,
            f"{own['weighted_tau']:.2f}",
            f"{ends[0]:.2f} to {ends[1]:.2f}" if ends else "",
            f"{own['kendall_tau']:.2f}",
            f"{own['hits']:.3g} of {own['targets']}",
            f"{own['regret']:.4g}",
        )
    return table if found["measures"] else Text("No target has scores beside its outcomes yet.")
