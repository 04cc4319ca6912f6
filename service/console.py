"""The ranked list on a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

Json = dict[str, Any]

_STYLES = {"done": "green", "running": "yellow", "queued": "dim", "failed": "red", "canceled": "dim"}


def progress(ranking: Json) -> RenderableType:
    """Where each candidate stands, while the ranking runs."""
    table = Table(title=f"{ranking['id']} for {ranking['dataset']['name']}: {ranking['state']}", box=None)
    for column in ("candidate", "state", "stage", "steps"):
        table.add_column(column)
    for row in sorted(ranking["ranked"], key=lambda row: str(row["candidate"]["name"])):
        steps = f"{row['steps_done']}/{row['steps_total']}" if row["steps_total"] else ""
        table.add_row(row["candidate"]["name"], _state(row), row["stage"] or "", steps)
    return table


def ranked_list(ranking: Json, *, url: str) -> RenderableType:
    """The list, best first, with all scores, flags, seconds and notes."""
    table = Table(title=f"{ranking['dataset']['name']}: candidates by {ranking['order_by']}", title_justify="left")
    measures = [ranking["order_by"], *(name for name in ranking["measures"] if name != ranking["order_by"])]
    table.add_column("#", justify="right")
    table.add_column("candidate", no_wrap=True)
    table.add_column("state")
    for measure in measures:
        table.add_column(measure, justify="right")
    table.add_column("flags")
    table.add_column("seconds", justify="right")
    for row in ranking["ranked"]:
        cells = [score(row["scores"].get(measure)) for measure in measures]
        table.add_row(_number(row), row["candidate"]["name"], _state(row), *cells, _flags(row), _seconds(row))
    return Group(table, *(Text(line) for line in _below(ranking, url)))


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


def _flags(row: Json) -> str:
    scores = {f"{name}: {flag}" for name, found in row["scores"].items() for flag in found["flags"]}
    return ", ".join([*row["flags"], *sorted(scores)])


def _seconds(row: Json) -> str:
    reused = " reused" if row["reused_from"] else ""
    return ("" if row["seconds"] is None else f"{row['seconds']:.1f}") + reused


def _below(ranking: Json, url: str) -> list[str]:
    failed = [f"{row['candidate']['name']}: {row['reason']}" for row in ranking["ranked"] if row["reason"]]
    lines = [*failed, *ranking["notes"]]
    if ranking["finetune_seconds"] is not None:
        lines.append(f"A full finetune of the first takes about {_duration(ranking['finetune_seconds'])}.")
    if ranking["finetune_runs"]:
        lines.append(f"Finetune runs: {', '.join(ranking['finetune_runs'])}")
    return [*lines, f"{url}/rankings/{ranking['id']}"]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
