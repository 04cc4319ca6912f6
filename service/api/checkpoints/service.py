"""Registering, finding and listing checkpoints."""

from __future__ import annotations

from typing import Any

from service.api.capabilities.published import published
from service.api.checkpoints.schemas import CheckpointOut, CheckpointRequest, Normalisation
from service.api.errors import ConflictError, Fault, InvalidError, NotFoundError
from service.api.names import name_from
from service.api.paging import Page, page_of
from service.jobs import requests
from service.settings import local_path
from service.store import checkpoints
from service.store.session import Session
from service.store.tables import Checkpoint, Json

_ALWAYS = ("spatial_dims", "in_channels", "classes")


def register(session: Session, request: CheckpointRequest) -> CheckpointOut:
    """Insert a checkpoint; the worker runs its preflight."""
    try:
        path = local_path(request.uri)
    except ValueError as error:
        raise InvalidError(
            str(error), field="uri", remedy="give an absolute path inside ZOORANK_ROOTS or the data folder"
        ) from None
    name = request.name or request.catalogue or name_from(path, otherwise="checkpoint")
    architecture, parameters, card = _described(session, request)
    taken = checkpoints.find(session, name)
    if taken is not None:
        same = (taken.uri, taken.architecture) == (request.uri, architecture)
        remedy = f"use the existing one, {taken.id}, of this file" if same else "choose another name"
        raise ConflictError(f"there is a checkpoint {name!r}", field="name", remedy=remedy)
    row = Checkpoint(
        name=name,
        uri=request.uri,
        architecture=architecture,
        parameters=parameters,
        card=card,
        preflight=None,
    )
    requests.add(session, row)
    return CheckpointOut.model_validate(row)


def _described(session: Session, request: CheckpointRequest) -> tuple[str, Json, Json]:
    if request.catalogue is not None:
        return _from_catalogue(session, request.catalogue)
    assert request.architecture is not None  # noqa: S101 - the schema saw to it
    parameters = {**request.parameters, "spatial_dims": request.spatial_dims}
    _check(session, request.architecture, parameters)
    _check_channels(request.card.normalisation, parameters["in_channels"])
    return request.architecture, parameters, request.card.model_dump(mode="json")


def _from_catalogue(session: Session, name: str) -> tuple[str, Json, Json]:
    cards = published(session, "card")
    if name not in cards:
        raise InvalidError(
            f"the catalogue has no card {name!r}",
            field="catalogue",
            remedy=f"use one of: {', '.join(cards)}",
        )
    card = dict(cards[name])
    architecture, parameters = card.pop("architecture"), dict(card.pop("parameters", {}))
    parameters |= {key: card[key] for key in _ALWAYS if key in card}
    return architecture, parameters, {**card, "catalogue": name}


def _check(session: Session, architecture: str, parameters: Json) -> None:
    known = published(session, "architecture")
    if architecture not in known:
        raise InvalidError(
            f"there is no architecture {architecture!r}",
            field="architecture",
            remedy=f"use one of: {', '.join(known)}",
        )
    body = known[architecture]
    if parameters["spatial_dims"] not in body["spatial_dims"]:
        raise InvalidError(
            f"{architecture} has no {parameters['spatial_dims']}D form",
            field="spatial_dims",
            remedy=f"use one of: {body['spatial_dims']}",
        )
    faults = _faults(parameters, body["parameters"])
    if faults:
        raise InvalidError("; ".join(fault.message for fault in faults), errors=faults)


def _check_channels(normalisation: Normalisation, channels: int) -> None:
    given = len(normalisation.mean)
    if given not in (0, channels):
        raise InvalidError(
            f"the card's normalisation has {given} means and deviations, the network {channels} channels",
            field="card.normalisation.mean",
            remedy=f"give {channels}, or none",
        )


def _faults(parameters: Json, own: Json) -> list[Fault]:
    faults = [
        Fault(field=f"parameters.{key}", message=f"{key} is missing", remedy="give a whole number of at least 1")
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


def _counts(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _alike(value: Any, default: Any) -> bool:
    if default is None or value is None:
        return True
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)


def find(session: Session, reference: str) -> CheckpointOut:
    """The checkpoint with this id or name."""
    row = checkpoints.find(session, reference)
    if row is None:
        raise NotFoundError(
            f"there is no checkpoint {reference!r}", field="checkpoint", remedy="see GET /v1/checkpoints"
        )
    return CheckpointOut.model_validate(row)


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
    return page_of(rows, limit, CheckpointOut.model_validate)
