"""Values of published options, as a request gives them: names, bounds and choices are the workers'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import TypeAdapter, ValidationError

from service.api.errors import InvalidError
from service.api.names import Text
from service.store.contents import Value
from service.store.published import PublishedOption

Values = Mapping[str, Value]
_TEXT: TypeAdapter[str] = TypeAdapter(Text)


@dataclass(frozen=True)
class _Wrong:
    """What is wrong with a value and the remedy; `item` is the place of the wrong item in a list."""

    what: str
    remedy: str
    item: int | None = None


def check_options(given: Values, options: Mapping[str, PublishedOption], *, field: str) -> None:
    """InvalidError names the first value that is unknown, of another type, or out of bounds.

    `field` is the field of the request that holds the values.
    """
    for name, value in given.items():
        if name not in options:
            raise InvalidError(
                f"there is no {name!r} here", field=f"{field}.{name}", remedy=_remedy_for_unknown(options)
            )
        wrong = _wrong(value, options[name])
        if wrong is not None:
            place = "" if wrong.item is None else f".{wrong.item}"
            raise InvalidError(f"{name} {wrong.what}", field=f"{field}.{name}{place}", remedy=wrong.remedy)


def _remedy_for_unknown(options: Mapping[str, PublishedOption]) -> str:
    return f"remove it, or use one of: {', '.join(sorted(options))}" if options else "remove it"


def _one_of(choices: tuple[str, ...]) -> str:
    return f"use {' or '.join(map(repr, choices))}"


def _wrong(value: Value, option: PublishedOption) -> _Wrong | None:
    """What is wrong with a value; None when it is accepted."""
    if value is None:
        return None if option.nullable else _Wrong("can't be null", "leave it out to get the default")
    if isinstance(value, list):
        found = ((place, _wrong_item(item, option)) for place, item in enumerate(value))
        return next((replace(wrong, item=place) for place, wrong in found if wrong is not None), None)
    return _wrong_item(value, option)


def _wrong_item(value: bool | int | float | str, option: PublishedOption) -> _Wrong | None:
    if option.choices is not None and value not in option.choices:
        return _Wrong(f"is {value!r}", _one_of(option.choices))
    if isinstance(value, str):
        return _wrong_text(value)
    if option.default is not None and not isinstance(option.default, bool) and isinstance(value, bool):
        return _Wrong(f"is {value}", f"give a value like {option.default!r}")
    return _wrong_number(value, option)


def _wrong_text(value: str) -> _Wrong | None:
    try:
        _TEXT.validate_python(value)
    except ValidationError:
        return _Wrong("is no plain text", "use 1 to 500 characters without control characters")
    return None


def _wrong_number(value: float, option: PublishedOption) -> _Wrong | None:
    if option.above is not None and value <= option.above:
        return _Wrong(f"is {value}", f"give a number above {option.above}")
    if option.lowest is not None and value < option.lowest:
        return _Wrong(f"is {value}", f"give a number of at least {option.lowest}")
    if option.highest is not None and value > option.highest:
        return _Wrong(f"is {value}", f"give a number of at most {option.highest}")
    return None
