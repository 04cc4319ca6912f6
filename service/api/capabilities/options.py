"""Values of published options, as a request gives them: names, bounds and choices are the workers'."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import TypeAdapter, ValidationError

from service.api.errors import InvalidError
from service.api.names import Text
from service.store.contents import Value
from service.store.published import PublishedOption

Values = Mapping[str, Value]
_TEXT: TypeAdapter[str] = TypeAdapter(Text)


def check_options(given: Values, options: Mapping[str, PublishedOption], *, field: str) -> None:
    """InvalidError names the first value that is unknown, of another type, or out of bounds.

    `field` is the field of the request that holds the values.
    """
    for name, value in given.items():
        if name not in options:
            raise InvalidError(
                f"there is no {name!r} here",
                field=f"{field}.{name}",
                remedy=_remedy_for_unknown(options),
            )
        problem = _problem(value, options[name])
        if problem is not None:
            raise InvalidError(f"{name} {problem[0]}", field=f"{field}.{name}", remedy=problem[1])


def _remedy_for_unknown(options: Mapping[str, PublishedOption]) -> str:
    return f"remove it, or use one of: {', '.join(sorted(options))}" if options else "remove it"


def _one_of(choices: tuple[str, ...]) -> str:
    return f"use {' or '.join(map(repr, choices))}"


def _problem(value: Value, option: PublishedOption) -> tuple[str, str] | None:
    """What is wrong with a value, and the remedy; None when it is accepted."""
    if value is None:
        return None if option.nullable else ("can't be null", "leave it out to get the default")
    if isinstance(value, str):
        return _problem_of_text(value, option)
    if option.choices is not None:
        return f"is {value!r}", _one_of(option.choices)
    parts = value if isinstance(value, list) else (value,)
    return next((found for part in parts if (found := _problem_of_number(part, option)) is not None), None)


def _problem_of_text(value: str, option: PublishedOption) -> tuple[str, str] | None:
    if option.choices is not None and value not in option.choices:
        return f"is {value!r}", _one_of(option.choices)
    try:
        _TEXT.validate_python(value)
    except ValidationError:
        return "is no plain text", "use 1 to 500 characters without control characters"
    return None


def _problem_of_number(value: bool | int | float | str, option: PublishedOption) -> tuple[str, str] | None:
    if isinstance(value, bool | str):
        return None
    bounds = (
        (option.above is not None and value <= option.above, f"give a number above {option.above}"),
        (option.lowest is not None and value < option.lowest, f"give a number of at least {option.lowest}"),
        (option.highest is not None and value > option.highest, f"give a number of at most {option.highest}"),
    )
    return next(((f"is {value}", remedy) for wrong, remedy in bounds if wrong), None)
