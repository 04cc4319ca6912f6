"""Tables and sentences on a terminal: a ranking's list, its cost, the ledger and the agreement."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from service.client import present

Json = dict[str, Any]

_STYLES = {"done": "green", "running": "yellow", "queued": "dim", "failed": "red", "canceled": "dim"}


def cost(estimate: Json) -> str:
    """What a ranking would take, in two sentences."""
    null, steps, seconds = estimate["null_epochs_per_candidate"], estimate["steps"], estimate["seconds"]
    who = present.counted(estimate["candidates"], "candidate")
    each = present.counted(estimate["epochs_per_candidate"], "training epoch") + " each"
    permuted = f", {null} on permuted labels" if null else ""
    total = present.counted(estimate["epochs"], "epoch")
    total += "" if steps is None else f", {present.counted(steps, 'step')}"
    time = "Time: not known; " if seconds is None else f"About {present.duration(seconds)}, by "
    return f"{who}, {each}{permuted}: {total} in all.\n{time}{estimate['seconds_from']}."


def progress(ranking: Json) -> RenderableType:
    """The state of each candidate, by name, while the ranking runs."""
    table = Table(title=f"{ranking['id']} for {ranking['dataset']['name']}: {ranking['state']}", box=None)
    table.caption = ranking["waiting"]
    for column in ("candidate", "state", "stage", "steps"):
        table.add_column(column)
    for row in sorted(ranking["ranked"], key=lambda row: str(row["candidate"]["name"])):
        steps = present.steps(row["steps_done"], row["steps_total"])
        table.add_row(_name(row), _state(row), row["stage"] or "", steps)
    return table


def without_answer(ranking: Json) -> str | None:
    """Why an ended ranking does not say which candidate is best; None when it does."""
    if ranking["state"] == "canceled":
        return f"ranking {ranking['id']} was canceled"
    if ranking["state"] == "failed":
        return f"ranking {ranking['id']} failed: no candidate could be evaluated"
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
        ordering = _score(row["scores"].get(ranking["order_by"]))
        flags = ", ".join(_flags(row, ranking["order_by"]))
        table.add_row(_place(row), _name(row), _state(row), ordering, flags, _seconds(row))
    return Group(table, _measures(ranking), *(Text(line) for line in _below(ranking, url)))


def _measures(ranking: Json) -> Table:
    """Every measure with its track record, and the candidates in its own order with their scores."""
    table = Table(title="every measure's own order", title_justify="left", show_lines=True)
    table.add_column("measure, and its record", overflow="fold")
    table.add_column("candidates (score; * not placed, with its flags)")
    records = ranking["track_record"]["measures"]
    derived = [name for name in records if name not in ranking["measures"]]
    for measure in [*derived, *ranking["measures"]]:
        in_order = _in_order(ranking, measure)
        if in_order:
            table.add_row(f"{measure}\n{_track_record(records.get(measure))}", in_order)
    return table


def _in_order(ranking: Json, measure: str) -> str:
    """The candidates that a measure scored, with their scores; those without a place come last."""
    rows = ranking["ranked"]
    scored = [(row["candidate"]["name"], row["scores"][measure]) for row in rows if row["scores"].get(measure)]
    scored.sort(key=lambda pair: pair[1]["position"] or len(rows) + 1)
    return ", ".join(_named_score(name, score) for name, score in scored)


def _named_score(name: str, score: Json) -> str:
    value = present.score(score["value"])
    return f"{name} {value}" if score["position"] else f"{name} {value} * {' '.join(score['flags'])}"


def _track_record(agreement: Json | None) -> str:
    if agreement is None:
        return present.NO_HISTORY
    ends = present.main_interval(agreement["intervals"])
    return present.track_record(agreement["weighted_tau"], ends, targets=agreement["targets"])


def _score(score: Json | None) -> str:
    """A score with its place; a star marks a score without a place."""
    if score is None:
        return ""
    value = present.score(score["value"])
    if score["value"] is None:
        return value
    return f"{value} ({score['position']})" if score["position"] else f"{value} *"


def _name(row: Json) -> str:
    """The candidate's name, with how much of its network was loaded where that is not all."""
    loaded = present.loaded(row["candidate"]["percent_loaded"])
    return f"{row['candidate']['name']} ({loaded})" if loaded else str(row["candidate"]["name"])


def _place(row: Json) -> str:
    return str(row["position"]) if row["position"] else "-"


def _state(row: Json) -> Text:
    return Text(row["state"], style=_STYLES.get(row["state"], ""))


def _flags(row: Json, order_by: str) -> list[str]:
    """The candidate's own flags, and those of the score that orders the list."""
    return [*row["flags"], *row["scores"].get(order_by, {}).get("flags", [])]


def _seconds(row: Json) -> str:
    return present.seconds(row["seconds"]) + (" reused" if row["reused_from"] else "")


def _below(ranking: Json, url: str) -> list[str]:
    failed = [f"{row['candidate']['name']}: {row['reason']}" for row in ranking["ranked"] if row["reason"]]
    past = [f"Record (weighted tau with outcomes): {ranking['track_record']['similar']}."]
    own = [f"Note: {ranking['note']}"] if ranking["note"] else []
    lines = [*own, ranking["answer"]["text"], *_revision(ranking), *failed, *past, *ranking["notes"]]
    if ranking["finetune_seconds"] is not None:
        lines.append(present.finetune_estimate(ranking["finetune_seconds"]))
    if ranking["finetune_runs"]:
        lines.append(f"Finetune runs: {', '.join(ranking['finetune_runs'])}")
    return [*lines, f"{url}/rankings/{ranking['id']}"]


def _revision(ranking: Json) -> list[str]:
    """Which answer it is, and that there is a newer one."""
    answer = ranking["answer"]
    at = datetime.fromisoformat(answer["at"]) if answer["at"] else None
    which = present.revision(
        answer["revision"],
        at,
        latest=answer["latest_revision"],
        ledger=answer["ledger_revision"],
        chosen=(answer["comparison_group"] or {}).get("words"),
    )
    newer = answer["newer"]
    if newer is None:
        return [which]
    return [which, f"{newer['text']} Read it with: zoorank ranking show {ranking['id']} --as-of {newer['as_of']}"]


def ledger(rows: Iterable[Json]) -> Table:
    """Rows of the ledger."""
    table = Table()
    for column in ("target", "candidate", "kind", "name", "value", "seed", "comparison group", "id"):
        table.add_column(column, overflow="fold", justify="right" if column == "value" else "left")
    for row in rows:
        cells = (
            *(row[column] for column in ("target", "candidate", "kind", "name")),
            present.number(row["value"]) + (" excluded" if row["excluded"] else ""),
            present.number(row["seed"]),
            row["comparison_group"]["words"],
            row["id"],
        )
        table.add_row(*map(Text, cells))
    return table


def exclusion(row: Json) -> str:
    """Whether an outcome counts, and why."""
    what = f"{row['name']} of {row['candidate']} on {row['target']}"
    last = row["exclusions"][-1] if row["exclusions"] else {"reason": None}
    why = f": {last['reason']}" if last["reason"] else ""
    return f"{what} {'is excluded' if row['excluded'] else 'counts'}{why}"


def agreements(part: Json) -> RenderableType:
    """Every measure's agreement with outcomes over a slice of the ledger, and the outcomes behind it."""
    if not part["measures"]:
        return Group(Text("No target has scores beside its outcomes yet."), *_targets(part))
    title = f"agreement of scores with the outcomes of {present.counted(len(part['targets']), 'target')}"
    table = Table(title=title, title_justify="left")
    for column in ("measure", "weighted tau", "95 % over targets", "Kendall tau", "first was best", "regret"):
        table.add_column(column, justify="left" if column == "measure" else "right")
    for name, agreement in part["measures"].items():
        table.add_row(name, *_figures(agreement))
    return Group(table, *_targets(part))


def _targets(part: Json) -> list[Table]:
    """The outcomes of each target that count, and those that are left out."""
    table = Table(title="outcomes", title_justify="left")
    for column in ("target", "that count", "left out"):
        table.add_column(column, overflow="fold")
    for row in part["targets"]:
        others = "\n".join(_group(group) for group in row["other_groups"])
        table.add_row(*map(Text, (row["name"], _group(row["group"]), others)))
    return [table] if part["targets"] else []


def _group(group: Json) -> str:
    """What a comparison group holds of a target, and its id."""
    candidates = present.counted(len(group["candidates"]), "candidate")
    seeds = present.counted(group["seeds"], "seed")
    return f"{group['words']}: {group['metric']} of {candidates}, {seeds} ({group['id']})"


def _figures(agreement: Json) -> tuple[str, ...]:
    if agreement["weighted_tau"] is None:
        return ("no ranking",)
    return (
        present.correlation(agreement["weighted_tau"]),
        present.interval(agreement["intervals"].get("targets")),
        present.correlation(agreement["kendall_tau"]),
        f"{present.number(agreement['hits'])} of {agreement['targets']}",
        present.number(agreement["regret"]),
    )
