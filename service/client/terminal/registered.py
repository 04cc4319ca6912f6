"""Commands about what is registered or requested: change, remove, retry, cancel."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from service.client.http import ClientError, Json, ZooRank
from service.client.terminal.edge import URL, Url, errors_shown

datasets = typer.Typer(help="Registered datasets.", no_args_is_help=True)
checkpoints = typer.Typer(help="Registered checkpoints.", no_args_is_help=True)
rankings = typer.Typer(help="Requested rankings.", no_args_is_help=True)
runs = typer.Typer(help="Finetune runs.", no_args_is_help=True)
GROUPS = {"dataset": datasets, "checkpoint": checkpoints, "ranking": rankings, "run": runs}

NameOrId = Annotated[str, typer.Argument(help="Name or id.")]
Id = Annotated[str, typer.Argument(help="Id.")]
Note = Annotated[str, typer.Option("--note", help="Your own words about it.")]
Entry = list[str] | None


@datasets.command("change")
def change_dataset(
    reference: NameOrId,
    uri: Annotated[str | None, typer.Option("--uri", help="Another file.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="Another target task.")] = None,
    modality: Annotated[str | None, typer.Option("--modality", help="How the images were taken.")] = None,
    cohort: Annotated[str | None, typer.Option("--cohort", help="Whose images they are.")] = None,
    url: Url = URL,
) -> None:
    """Correct a dataset; what is not given stays."""
    given = {"uri": uri, "task": task, "modality": modality, "cohort": cohort}
    with errors_shown(), ZooRank(url) as zoo:
        _show(zoo.change_dataset(reference, **_given(given)))


@checkpoints.command("change")
def change_checkpoint(
    reference: NameOrId,
    uri: Annotated[str | None, typer.Option("--uri", help="Another file of weights.")] = None,
    architecture: Annotated[str | None, typer.Option("--architecture", help="Another architecture.")] = None,
    parameter: Annotated[
        Entry, typer.Option("--parameter", help="All parameters of the architecture: NAME=JSON, repeated.")
    ] = None,
    card: Annotated[Entry, typer.Option("--card", help="An entry of the card: NAME=JSON, repeated.")] = None,
    allow_partial: Annotated[
        bool | None,
        typer.Option(
            "--allow-partial/--no-allow-partial",
            help="Whether a file without the whole network outside its head is taken.",
        ),
    ] = None,
    url: Url = URL,
) -> None:
    """Correct a checkpoint; what is not given stays."""
    with errors_shown(), ZooRank(url) as zoo:
        entries = {"parameters": _entries(parameter), "card": _entries(card)}
        given = {"uri": uri, "architecture": architecture, "allow_partial": allow_partial, **entries}
        _show(zoo.change_checkpoint(reference, **_given(given)))


@rankings.command("change")
def change_ranking(reference: Id, note: Note, url: Url = URL) -> None:
    """Change the note of a ranking; an empty one takes it away."""
    _describe("rankings", reference, note, url)


@runs.command("change")
def change_run(reference: Id, note: Note, url: Url = URL) -> None:
    """Change the note of a finetune run; an empty one takes it away."""
    _describe("finetune-runs", reference, note, url)


@datasets.command("remove")
def remove_dataset(reference: NameOrId, url: Url = URL) -> None:
    """Remove a dataset that nothing needs; its file and its outcomes stay."""
    _remove("datasets", reference, url)


@checkpoints.command("remove")
def remove_checkpoint(reference: NameOrId, url: Url = URL) -> None:
    """Remove a checkpoint that nothing needs; its file and its outcomes stay."""
    _remove("checkpoints", reference, url)


@rankings.command("remove")
def remove_ranking(
    reference: Id,
    force: Annotated[
        bool, typer.Option("--force", help="Even where its scores count in the track record of measures.")
    ] = False,
    url: Url = URL,
) -> None:
    """Remove a ranking that is over, with its scores; its finetune runs stay."""
    _remove("rankings", reference, url, force=force)


@runs.command("remove")
def remove_run(reference: Id, url: Url = URL) -> None:
    """Remove a finetune run that is over, with its network; its outcomes stay."""
    _remove("finetune-runs", reference, url)


@datasets.command("retry")
def retry_dataset(reference: NameOrId, url: Url = URL) -> None:
    """Inspect a failed dataset again."""
    _retry("datasets", reference, url)


@checkpoints.command("retry")
def retry_checkpoint(reference: NameOrId, url: Url = URL) -> None:
    """Load a failed checkpoint again."""
    _retry("checkpoints", reference, url)


@rankings.command("retry")
def retry_ranking(reference: Id, url: Url = URL) -> None:
    """Evaluate again what failed or was canceled."""
    _retry("rankings", reference, url)


@runs.command("retry")
def retry_run(reference: Id, url: Url = URL) -> None:
    """Train again what failed or was canceled."""
    _retry("finetune-runs", reference, url)


@rankings.command("cancel")
def cancel_ranking(reference: Id, url: Url = URL) -> None:
    """Cancel what is open of a ranking; what is done stays."""
    with errors_shown(), ZooRank(url) as zoo:
        _show(zoo.cancel("rankings", reference))


@runs.command("cancel")
def cancel_run(reference: Id, url: Url = URL) -> None:
    """Cancel a finetune run that is not over."""
    with errors_shown(), ZooRank(url) as zoo:
        _show(zoo.cancel("finetune-runs", reference))


def _describe(kind: str, reference: str, note: str, url: str) -> None:
    with errors_shown(), ZooRank(url) as zoo:
        _show(zoo.describe(kind, reference, note or None))


def _remove(kind: str, reference: str, url: str, *, force: bool = False) -> None:
    with errors_shown(), ZooRank(url) as zoo:
        zoo.remove(kind, reference, force=force)
        print(f"{reference} is removed")


def _retry(kind: str, reference: str, url: str) -> None:
    with errors_shown(), ZooRank(url) as zoo:
        _show(zoo.retry(kind, reference))


def _show(row: Json) -> None:
    print(f"{row.get('name', row['id'])} is {row['state']}")


def _given(fields: dict[str, Any]) -> Json:
    """The fields that have a value; ClientError when there is none."""
    given = {name: value for name, value in fields.items() if value is not None}
    if not given:
        raise ClientError("nothing to change: give an option, see --help")
    return given


def _entries(given: list[str] | None) -> Json | None:
    """NAME=JSON pairs as an object; what is no JSON is taken as text."""
    if given is None:
        return None
    entries: Json = {}
    for pair in given:
        name, separator, text = pair.partition("=")
        if not separator:
            raise ClientError(f"{pair!r} is not NAME=VALUE")
        entries[name] = _value(text)
    return entries


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
