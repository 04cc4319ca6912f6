"""Values of published options, as a request gives them: names, types, bounds and choices are the workers'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError

from service.api.errors import Fault, InvalidError
from service.api.names import Text
from service.store.contents import Value
from service.store.published import PublishedOption

LONGEST_SHOWN = 40  # characters of a wrong value in a message

_ADAPTERS: Mapping[str, TypeAdapter[Any]] = {
    "boolean": TypeAdapter(bool),
    "integer": TypeAdapter(int),
    "number": TypeAdapter(Annotated[float, Field(allow_inf_nan=False)]),
    "text": TypeAdapter(Text),
    "integers": TypeAdapter(list[int]),
}
_IN_WORDS = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a finite number",
    "text": "a text of 1 to 500 characters without control characters",
    "integers": "a list of whole numbers",
}


def _one_fault(value: object, read: Any) -> Any:
    """The value as `read` accepts it, with one fault instead of one for each type that it might have had."""
    try:
        return read(value)
    except ValidationError:
        raise PydanticCustomError(
            "option_value",
            "this is not a value of an option",
            {"expected": "a number, a text, true, false, null, or a list of these"},
        ) from None


GivenValue = Annotated[Value, WrapValidator(_one_fault)]


def read_options(
    given: Mapping[str, Value], options: Mapping[str, PublishedOption], *, field: str
) -> dict[str, Value]:
    """The given values as the types of their options.

    InvalidError names every value that is unknown, of another type, or out of bounds. `field` is the field of
    the request that holds the values.
    """
    faults: list[Fault] = []
    values: dict[str, Value] = {}
    for name, value in given.items():
        try:
            values[name] = _read(name, value, options, field=field)
        except InvalidError as error:
            faults.extend(error.errors)
    if faults:
        raise InvalidError.of(faults)
    return values


def _read(name: str, value: Value, options: Mapping[str, PublishedOption], *, field: str) -> Value:
    """One value as the type of its option; InvalidError names what is wrong with it."""
    if name not in options:
        raise InvalidError(
            f"{shown_value(name)} is not a field of {field}", field=f"{field}.{name}", remedy=_known(options)
        )
    option, place = options[name], f"{field}.{name}"
    if value is None:
        if option.nullable:
            return None
        raise InvalidError(f"{name} can't be null", field=place, remedy="leave it out to get the default")
    if option.choices is not None and value not in option.choices:
        remedy = f"use {' or '.join(map(repr, option.choices))}"
        raise InvalidError(f"{name} is {shown_value(value)}", field=place, remedy=remedy)
    typed = _typed(name, value, option, place=place)
    faults = _out_of_bounds(name, typed, value, option, place=place)
    if faults:
        raise InvalidError.of(faults)
    return typed


def _known(options: Mapping[str, PublishedOption]) -> str:
    return f"remove it, or use one of: {', '.join(sorted(options))}" if options else "remove it"


def shown_value(value: object) -> str:
    """A value as it is shown in a message, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _typed(name: str, value: Value, option: PublishedOption, *, place: str) -> Value:
    items = value if isinstance(value, list) else [value]
    try:
        if option.type != "boolean" and any(isinstance(item, bool) for item in items):
            raise ValueError
        typed: Value = _ADAPTERS[option.type].validate_python(value)
    except (ValueError, OverflowError):  # ValidationError is a ValueError
        expected = _IN_WORDS[option.type] + " or null" * option.nullable
        raise InvalidError(f"{name} is {shown_value(value)}", field=place, remedy=f"give {expected}") from None
    return typed


def _out_of_bounds(name: str, value: Value, given: Value, option: PublishedOption, *, place: str) -> list[Fault]:
    """One fault for a number out of bounds; of a list, for each of its items. Messages show what was given."""
    if isinstance(value, list) and isinstance(given, list):
        return [
            fault
            for number, (item, given_item) in enumerate(zip(value, given, strict=True))
            for fault in _out_of_bounds(name, item, given_item, option, place=f"{place}.{number}")
        ]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return []
    wanted = _bound_that_fails(value, option)
    if wanted is None:
        return []
    return [Fault(field=place, message=f"{name} is {shown_value(given)}", remedy=f"give a number {wanted}")]


def _bound_that_fails(value: float, option: PublishedOption) -> str | None:
    if option.above is not None and value <= option.above:
        return f"above {option.above:.15g}"
    if option.lowest is not None and value < option.lowest:
        return f"of at least {option.lowest:.15g}"
    if option.highest is not None and value > option.highest:
        return f"of at most {option.highest:.15g}"
    return None
