"""Correcting, removing and retrying checkpoints."""

from __future__ import annotations

from service.api import references as requested
from service.api.checkpoints import service
from service.api.checkpoints.schemas import CheckpointChange, CheckpointOut
from service.api.errors import ConflictError
from service.api.needed import refuse_other_results, refuse_removal
from service.jobs import removing, retrying
from service.store.contents import Card
from service.store.dict_form import Json, plain
from service.store.session import Session
from service.store.tables import Checkpoint, Values

_OF_THE_INPUT = ("normalisation", "head")  # entries of the card that decide results


def change(session: Session, reference: str, request: CheckpointChange) -> CheckpointOut:
    """Change what is given. What decides results is loaded anew, and refused where results exist."""
    row = service.found(session, reference, lock=True)
    uri, architecture = request.uri or row.uri, request.architecture or row.architecture
    parameters, card = _parameters(row, request), _card(row, request)
    partial = row.allow_partial if request.allow_partial is None else request.allow_partial
    decisive = {
        "uri": uri != row.uri,
        "architecture": architecture != row.architecture,
        "parameters": parameters != row.parameters,
        "card": any(getattr(card, entry) != getattr(row.card, entry) for entry in _OF_THE_INPUT),
        "allow_partial": partial != row.allow_partial,
    }
    if decisive["uri"]:
        requested.file(uri)
    if any(decisive.values()) or request.card is not None:
        service.check_network(session, architecture, parameters, card)
    for field in (field for field, changed in decisive.items() if changed):
        refuse_other_results(session, row, field)
    row.uri, row.architecture, row.parameters, row.card = uri, architecture, parameters, card
    row.allow_partial = partial
    if any(decisive.values()):
        retrying.read_again(session, row, why="it was changed")
    return service.shown(row)


def _parameters(row: Checkpoint, request: CheckpointChange) -> Values:
    given = row.parameters if request.parameters is None else request.parameters
    return {**given, "spatial_dims": request.spatial_dims or row.parameters["spatial_dims"]}


def _card(row: Checkpoint, request: CheckpointChange) -> Card:
    if request.card is None:
        return row.card
    present = plain(row.card)
    more: Json = present.pop("more")
    given = request.card.model_dump(mode="json", exclude_unset=True)
    taken_away = {name for name, value in given.items() if value is None}
    entries = {**present, **more, **given}
    return service.card_of({name: value for name, value in entries.items() if name not in taken_away})


def remove(session: Session, reference: str) -> None:
    """Remove a checkpoint that nothing needs."""
    row = service.found(session, reference, lock=True)
    refuse_removal(session, row)
    removing.remove(session, row)


def retry(session: Session, reference: str) -> CheckpointOut:
    """Load a checkpoint again whose loading failed or was canceled."""
    row = service.found(session, reference, lock=True)
    if row.state not in retrying.RETRIED_STATES:
        raise ConflictError(
            f"checkpoint {row.name} is {row.state}",
            field="checkpoint",
            remedy="only what has failed or was canceled can be retried",
        )
    retrying.read_again(session, row, why="it was retried")
    return service.shown(row)
