"""Registering, finding and listing checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

from service.api import references as requested
from service.api.capabilities.options import read_options, shown_value
from service.api.capabilities.published import published
from service.api.checkpoints.schemas import CheckpointCard, CheckpointOut, CheckpointRequest
from service.api.errors import ConflictError, Fault, InvalidError, NotFoundError
from service.api.names import name_from
from service.api.needed import refuse_other_outcomes
from service.api.paging import Page, page_of
from service.jobs import requests
from service.store import checkpoints
from service.store.contents import Card, CardEntries, Normalisation, Value
from service.store.dict_form import Json, plain, read
from service.store.published import ARCHITECTURES, CARD_FIELDS, CARDS
from service.store.session import Session
from service.store.tables import Checkpoint, Values

_OF_NETWORK = ("architecture", "parameters")
_ALWAYS = ("spatial_dims", "in_channels", "classes")


def register(session: Session, request: CheckpointRequest) -> CheckpointOut:
    """Insert a checkpoint; the worker runs its preflight."""
    path = requested.file(request.uri)
    name = request.name or request.catalogue or name_from(path, otherwise="checkpoint")
    architecture, parameters, card = _described(session, request)
    registered = checkpoints.find(session, name)
    if registered is not None:
        same = (registered.uri, registered.architecture) == (request.uri, architecture)
        remedy = f"use the existing one, {registered.id}, of this file" if same else "choose another name"
        raise ConflictError(f"there is a checkpoint {name!r}", field="name", remedy=remedy)
    refuse_other_outcomes(session, Checkpoint, name, "name")
    row = Checkpoint(
        name=name,
        uri=request.uri,
        architecture=architecture,
        parameters=parameters,
        card=card,
        allow_partial=request.allow_partial,
    )
    requests.add(session, row)
    return shown(row)


def _described(session: Session, request: CheckpointRequest) -> tuple[str, Values, Card]:
    """Architecture, parameters and card of a request; InvalidError names what does not fit."""
    if request.catalogue is not None:
        return _from_catalogue(session, request.catalogue)
    assert request.architecture is not None  # noqa: S101 - the schema saw to it
    parameters: Values = {**request.parameters, "spatial_dims": request.spatial_dims}
    card = card_of(request.card.model_dump(mode="json"))
    check_network(session, request.architecture, parameters, card)
    return request.architecture, parameters, card


def _from_catalogue(session: Session, name: str) -> tuple[str, Values, Card]:
    cards = published(session, CARDS)
    if name not in cards:
        raise InvalidError(
            f"the catalogue has no card {name!r}",
            field="catalogue",
            remedy=f"use one of: {', '.join(cards)}",
        )
    card = cards[name]
    dims: Values = {} if card.spatial_dims is None else {"spatial_dims": card.spatial_dims}
    parameters = {**card.parameters, **dims}
    entries = {key: value for key, value in plain(card).items() if key not in _OF_NETWORK}
    return card.architecture, parameters, card_of({**entries, "catalogue": name})


def check_network(session: Session, architecture: str, parameters: Values, card: Card) -> None:
    """InvalidError unless the workers can build this network and scale its input as the card says."""
    _check(session, architecture, parameters)
    _check_channels(card.normalisation, parameters["in_channels"])
    _check_spacing(card.spacing, parameters["spatial_dims"])
    _check_card(session, card)


def card_of(entries: Json) -> Card:
    """The card with these entries; those that the service does not use are kept as they are."""
    used = {declared.name for declared in fields(CardEntries)}
    more = {name: value for name, value in entries.items() if name not in used}
    return read(Card, {**{name: value for name, value in entries.items() if name in used}, "more": more})


def _check_card(session: Session, card: Card) -> None:
    given: dict[str, Value] = {"head": card.head, "normalisation.scale": card.normalisation.scale}
    read_options(given, published(session, CARD_FIELDS), field="card")


def _check(session: Session, architecture: str, parameters: Values) -> None:
    architectures = published(session, ARCHITECTURES)
    if architecture not in architectures:
        raise InvalidError(
            f"there is no architecture {architecture!r}",
            field="architecture",
            remedy=f"use one of: {', '.join(architectures)}",
        )
    dims = architectures[architecture].spatial_dims
    if parameters["spatial_dims"] not in dims:
        raise InvalidError(
            f"{architecture} has no {parameters['spatial_dims']}D form",
            field="spatial_dims",
            remedy=f"use one of: {list(dims)}",
        )
    faults = _faults(parameters, architectures[architecture].parameters)
    if faults:
        raise InvalidError.of(faults)


def _check_channels(normalisation: Normalisation, channels: Value) -> None:
    given = len(normalisation.mean)
    if given not in (0, channels):
        raise InvalidError(
            f"the card's normalisation has {given} means and deviations, the network {channels} channels",
            field="card.normalisation.mean",
            remedy=f"give {channels}, or none",
        )


def _check_spacing(spacing: Sequence[float], dims: Value) -> None:
    if len(spacing) not in (0, dims):
        raise InvalidError(
            f"the card's spacing has {len(spacing)} numbers, the network {dims} axes",
            field="card.spacing",
            remedy=f"give {dims} in millimetres, or none",
        )


def _faults(parameters: Values, own: Mapping[str, Value]) -> list[Fault]:
    faults = [
        Fault(
            field=f"parameters.{key}",
            message=f"{key} is {shown_value(parameters[key])}" if key in parameters else f"{key} is missing",
            remedy="give a whole number of at least 1",
        )
        for key in ("in_channels", "classes")
        if not _counts(parameters.get(key))
    ]
    for key, value in parameters.items():
        field = f"parameters.{key}"
        if key not in own and key not in _ALWAYS:
            names = ", ".join(sorted({*own, "in_channels", "classes"}))
            faults.append(
                Fault(field=field, message=f"there is no parameter {key!r}", remedy=f"use one of: {names}")
            )
        elif key in own and not _alike(value, own[key]):
            faults.append(
                Fault(
                    field=field,
                    message=f"{key} is of another kind than its default",
                    remedy=f"give a value like {own[key]!r}",
                )
            )
    return faults


def _counts(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _alike(value: Value, default: Value) -> bool:
    if default is None or value is None:
        return True
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)


def find(session: Session, reference: str) -> CheckpointOut:
    """The checkpoint with this id or name."""
    return shown(found(session, reference))


def found(session: Session, reference: str, *, lock: bool = False) -> Checkpoint:
    """The row of the checkpoint with this id or name; NotFoundError when there is none."""
    row = checkpoints.find(session, reference, lock=lock)
    if row is None:
        raise NotFoundError(
            f"there is no checkpoint {reference!r}", field="checkpoint", remedy="see GET /v1/checkpoints"
        )
    return row


def listed(
    session: Session,
    *,
    after: str | None,
    limit: int,
    architecture: str | None = None,
    state: str | None = None,
) -> Page[CheckpointOut]:
    """One page of checkpoints."""
    rows = checkpoints.listed(session, after=after, limit=limit + 1, architecture=architecture, state=state)
    return page_of(rows, limit, shown)


def shown(row: Checkpoint) -> CheckpointOut:
    """The checkpoint as it goes out."""
    entries = plain(row.card)
    more: Json = entries.pop("more")
    columns = {name: getattr(row, name) for name in CheckpointOut.model_fields if name != "card"}
    return CheckpointOut(**columns, card=CheckpointCard(**entries, **more))
