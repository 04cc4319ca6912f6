"""The command line."""

from __future__ import annotations

import json
import os
import sys
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from service.client import present
from service.client.http import ClientError, Json, ZooRank
from service.client.rows import BrokenRowsError, LongRows, read_long_rows
from service.client.terminal import registered, tables
from service.client.terminal.edge import URL, Url, errors_shown

app = typer.Typer(
    help="Rank pretrained checkpoints for a dataset.", no_args_is_help=True, pretty_exceptions_show_locals=False
)
database = typer.Typer(help="The database.", no_args_is_help=True)
app.add_typer(database, name="db")
ledger = typer.Typer(help="Outcomes of finetune runs, and scores beside them.", no_args_is_help=True)
app.add_typer(ledger, name="outcomes")
for noun, group in registered.GROUPS.items():
    app.add_typer(group, name=noun)

Data = Annotated[Path | None, typer.Option("--data", help="Data folder (ZOORANK_DATA_DIR).")]


def _set(name: str, value: object | None) -> None:
    if value is not None:
        os.environ[f"ZOORANK_{name}"] = str(value)


def _become(module: str, *arguments: str) -> None:
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


@app.command("serve")
def serve_command(
    port: Annotated[int | None, typer.Option("--port", help="Port to listen on; 0 takes any free port.")] = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on.")] = None,
    data: Data = None,
    worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Start a worker too, or serve the API alone.")
    ] = True,
) -> None:
    """Serve the API and the pages, with a worker that is restarted if it dies."""
    for name, value in (("PORT", port), ("HOST", host), ("DATA_DIR", data and data.resolve())):
        _set(name, value)
    _become("service.supervisor", *([] if worker else ["--no-worker"]))


@app.command("worker")
def worker_command(data: Data = None) -> None:
    """Start a worker, which inspects, scores and finetunes."""
    _set("DATA_DIR", data and data.resolve())
    _become("worker.main")


@app.command("demo")
def demo_command() -> None:
    """Build a small zoo, rank it, and print the list."""
    _become("worker.demo")


@database.command("upgrade")
def upgrade_command() -> None:
    """Apply the migrations that the database lacks."""
    _become("service.store.migrate")


@ledger.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help="CSV with a header, or a JSON list of rows.")],
    source: Annotated[str | None, typer.Option("--source", help="Source of the rows that name none.")] = None,
    url: Url = URL,
) -> None:
    """Import outcomes and scores into the ledger, one a row. Up to 20 000 rows are imported all or not at all.

    A row that the ledger has already gets the new value, so a file may be imported again.
    """
    with errors_shown():
        long_rows = read_long_rows(file)
        with ZooRank(url) as zoo:
            _import(zoo, long_rows, source)


def _import(zoo: ZooRank, long_rows: LongRows, source: str | None) -> None:
    counts = {"added": 0, "replaced": 0, "unchanged": 0}
    parts = long_rows.parts()
    if len(parts) > 1:
        print(f"{len(long_rows.rows)} rows are sent in {len(parts)} parts, each of them whole or not at all")
    for number, part in enumerate(parts, 1):
        try:
            changes = zoo.import_outcomes(part.rows, source=source)
        except ClientError as error:
            before = f"\nparts before this one that are in: {number - 1}; correct it and import the file again"
            raise BrokenRowsError(part.placed(str(error)) + (before if number > 1 else "")) from error
        counts = {name: count + changes[name] for name, count in counts.items()}
        if len(parts) > 1:
            print(f"part {number} of {len(parts)} is in")
    print(present.counts(counts))


@ledger.command("list")
def list_command(
    target: Annotated[str | None, typer.Option("--target")] = None,
    candidate: Annotated[str | None, typer.Option("--candidate")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="outcome or score")] = None,
    source: Annotated[str | None, typer.Option("--source")] = None,
    excluded: Annotated[
        bool | None, typer.Option("--excluded/--counting", help="Only rows that are excluded, or that count.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most this many rows.")] = 100,
    url: Url = URL,
) -> None:
    """Print the ledger's rows, newest first."""
    with errors_shown(), ZooRank(url) as zoo:
        rows = zoo.outcomes(target=target, candidate=candidate, kind=kind, source=source, excluded=excluded)
        Console().print(tables.ledger(islice(rows, limit)))
        if next(rows, None):
            print(f"These are the newest {limit}; --limit shows more.")


@ledger.command("exclude")
def exclude_command(
    outcome: Annotated[str, typer.Argument(help="Id of the outcome, as `zoorank outcomes list` shows it.")],
    reason: Annotated[str, typer.Option("--reason", help="Why it shall not count; the reason is kept.")],
    url: Url = URL,
) -> None:
    """Exclude an outcome, so that it counts nowhere. All metrics of a finetune run go together."""
    with errors_shown(), ZooRank(url) as zoo:
        print(tables.exclusion(zoo.exclude_outcome(outcome, reason)))


@ledger.command("include")
def include_command(
    outcome: Annotated[str, typer.Argument(help="Id of the outcome, as `zoorank outcomes list` shows it.")],
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why it counts again; the reason is kept.")
    ] = None,
    url: Url = URL,
) -> None:
    """Include an outcome that was excluded."""
    with errors_shown(), ZooRank(url) as zoo:
        print(tables.exclusion(zoo.include_outcome(outcome, reason)))


@app.command("agreement")
def agreement_command(
    target: Annotated[str | None, typer.Option("--target")] = None,
    task: Annotated[str | None, typer.Option("--task")] = None,
    modality: Annotated[str | None, typer.Option("--modality")] = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="Only outcomes of the comparison group of this id.")
    ] = None,
    url: Url = URL,
) -> None:
    """Print how well every measure's scores agree with outcomes, and which outcomes count."""
    with errors_shown(), ZooRank(url) as zoo:
        part = zoo.agreement(target=target, task=task, modality=modality, protocol=protocol)
        Console().print(tables.agreements(part))


@app.command("rank")
def rank_command(
    dataset: Annotated[str, typer.Argument(help="A dataset's id or name.")],
    checkpoints: Annotated[list[str], typer.Argument(help="Candidates, by id or name.")],
    url: Url = URL,
    as_json: Annotated[bool, typer.Option("--json", help="Print the ranking as JSON, nothing else.")] = False,
    records: Annotated[
        bool, typer.Option("--records", help="Add to the JSON what each score was computed from.")
    ] = False,
    measure: Annotated[
        list[str] | None, typer.Option("--measure", help="A measure to compute; repeat it for several.")
    ] = None,
    order_by: Annotated[str | None, typer.Option("--order-by", help="The score that orders the list.")] = None,
    finetune_top: Annotated[
        int, typer.Option("--finetune-top", min=0, max=5, help="Finetune this many of the best.")
    ] = 0,
    permutations: Annotated[
        int | None,
        typer.Option(
            "--permutations",
            help="Number of epochs on permuted labels for each candidate, for measures that need them.",
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance",
            help="How much worse than the best a choice may be, in the metric: 0.01 is a point of Dice.",
        ),
    ] = None,
    risk: Annotated[
        float | None, typer.Option("--risk", help="Probability with which a choice may be worse than that.")
    ] = None,
    partly_loaded: Annotated[
        str | None,
        typer.Option("--partly-loaded", help="Where partly loaded candidates stand: last (default) or mixed."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Accept the cost without a question.")] = False,
) -> None:
    """Rank checkpoints for a dataset and print the ranked list. The status is 1 when no candidate has a place.

    A request of more than one training epoch for a candidate first shows its cost on stderr and asks for consent.
    Without a terminal, and with --json, only --yes gives it.
    """
    more: dict[str, Any] = {"finetune_top": finetune_top}
    more |= {"protocol": {"null_permutations": permutations}} if permutations is not None else {}
    more |= {"measures": measure} if measure else {}
    more |= {"order_by": order_by} if order_by else {}
    more |= {"tolerance": tolerance} if tolerance is not None else {}
    more |= {"risk": risk} if risk is not None else {}
    more |= {"partly_loaded": partly_loaded} if partly_loaded else {}
    with errors_shown(), ZooRank(url) as zoo:
        _accept(zoo.cost(dataset, checkpoints, **more), yes=yes, as_json=as_json)
        ranking = _rank(zoo, dataset, checkpoints, more, as_json=as_json, records=records)
        problem = tables.without_answer(ranking)
        if problem:
            raise ClientError(problem)


@registered.rankings.command("show")
def show_command(
    ranking_id: Annotated[str, typer.Argument(help="A ranking's id, which begins with rk_.")],
    url: Url = URL,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="A revision of the answer by its number, or now.")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="Comparison group whose outcomes count, by its id.")
    ] = None,
    renew: Annotated[bool, typer.Option("--renew", help="Store the answer as it is now as a revision.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the ranking as JSON, nothing else.")] = False,
) -> None:
    """Print a ranking with its stored answer; says so when there is a newer one."""
    with errors_shown(), ZooRank(url) as zoo:
        if renew:
            zoo.renew_answer(ranking_id)
        ranking = zoo.ranking(ranking_id, as_of=as_of, protocol=protocol)
        if as_json:
            print(json.dumps(ranking, indent=2))
        else:
            Console().print(tables.ranked_list(ranking, url=zoo.url))


def _accept(cost: Json, *, yes: bool, as_json: bool) -> None:
    """Raise unless the request takes at most one epoch a candidate, or somebody accepts its cost."""
    if (cost["epochs_per_candidate"] or 0) <= 1:
        return
    Console(stderr=True).print(tables.cost(cost), markup=False, highlight=False, soft_wrap=True)
    if yes:
        return
    if as_json or not sys.stdin.isatty():
        raise ClientError("not requested: add --yes to accept this cost")
    if not typer.confirm("Request this ranking?", err=True):
        raise ClientError("not requested")


def _rank(zoo: ZooRank, dataset: str, checkpoints: list[str], more: Json, *, as_json: bool, records: bool) -> Json:
    ranking = zoo.rank(dataset, checkpoints, **more)
    if as_json:
        ranking = zoo.ranking(zoo.wait(ranking)["id"], records=records)
        print(json.dumps(ranking, indent=2))
        return ranking
    screen = Console()
    with Live(tables.progress(ranking), console=screen, transient=True) as live:
        ranking = zoo.wait(ranking, each=lambda state: live.update(tables.progress(state)))
    screen.print(tables.ranked_list(ranking, url=zoo.url))
    return ranking


def main() -> None:
    """The entry point."""
    app()
