"""The protocol of a ranking or a finetune run: the workers' defaults with what a request overrides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TypeVar

from service.api.capabilities.options import read_options
from service.api.capabilities.published import published
from service.api.errors import InvalidError
from service.store.contents import Protocol, Value
from service.store.dict_form import plain, read
from service.store.published import DEFAULT, PROTOCOL_FIELDS, CapabilityKind
from service.store.session import Session

_OF_SCORES = ("steps", "feature_width")  # fields that a finetune run does not take over from its ranking
AnyProtocol = TypeVar("AnyProtocol", bound=Protocol)


def protocol_of(
    session: Session,
    kind: CapabilityKind[AnyProtocol],
    overrides: Mapping[str, Value] | None,
    *,
    dims: int,
    field: str,
    base: Protocol | None = None,
) -> AnyProtocol:
    """The published defaults with the overrides; InvalidError names the field below `field` that is wrong.

    `dims` is the number of spatial dimensions of the dataset. `base` is the protocol of the ranking that asks
    for finetune runs: it replaces the defaults, but for `steps`, since a finetune trains whole epochs, and for
    `feature_width`, which decides scores only.
    """
    names = {declared.name for declared in fields(kind.content)}
    options = {name: option for name, option in published(session, PROTOCOL_FIELDS).items() if name in names}
    given = read_options(overrides or {}, options, field=field)
    _check_crop(given.get("crop"), dims, field=field)
    inherited = (
        {} if base is None else {name: value for name, value in plain(base).items() if name not in _OF_SCORES}
    )
    defaults = plain(published(session, kind)[DEFAULT])
    return read(kind.content, {**defaults, **inherited, **given})


def _check_crop(crop: Value, dims: int, *, field: str) -> None:
    if isinstance(crop, list) and len(crop) != dims:
        raise InvalidError(
            f"the crop has {len(crop)} numbers, the dataset {dims} axes",
            field=f"{field}.crop",
            remedy=f"give {dims} whole numbers",
        )
