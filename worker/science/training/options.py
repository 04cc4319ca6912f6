"""Options of a finetune method or pretext recipe: declared as data, checked before anything is trained."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from worker.science.errors import ScienceError

OptionValue = bool | int | float | str
Options = Mapping[str, OptionValue]


@dataclass(frozen=True)
class Option:
    """One option: the type of `default` is the type of its values, and an int is also a float.

    `lowest` and `highest` (inclusive) bound numbers, `choices` lists the allowed texts.
    """

    name: str
    default: OptionValue
    meaning: str  # a whole sentence
    lowest: float | None = None
    highest: float | None = None
    choices: tuple[str, ...] = ()


def complete_options(declared: Sequence[Option], given: Mapping[str, object], *, owner: str) -> Options:
    """The value of every declared option: the given one, else the default; ScienceError names a wrong one.

    `owner` is the method or recipe that the options belong to.
    """
    names = [option.name for option in declared]
    if unknown := sorted(set(given) - set(names)):
        raise ScienceError(
            f"options: {owner} has no option {', '.join(unknown)}; it takes {', '.join(names) or 'none'}"
        )
    return {option.name: checked(option, given.get(option.name, option.default)) for option in declared}


def checked(option: Option, value: object) -> OptionValue:
    """`value` as the option's type; ScienceError when it is of another type, out of bounds or not a choice."""
    if isinstance(option.default, bool):
        return _flag(option, value)
    if isinstance(option.default, str):
        return _choice(option, value)
    return _number(option, value)


def _flag(option: Option, value: object) -> bool:
    if not isinstance(value, bool):
        raise ScienceError(f"options.{option.name}: {value!r} is neither true nor false; give one of them")
    return value


def _choice(option: Option, value: object) -> str:
    if not isinstance(value, str) or value not in option.choices:
        raise ScienceError(f"options.{option.name}: {value!r} is not known; use {' or '.join(option.choices)}")
    return value


def _number(option: Option, value: object) -> int | float:
    whole = isinstance(option.default, int)
    kind = "a whole number" if whole else "a finite number"
    if isinstance(value, int) and abs(value) > sys.float_info.max:  # has too many digits to be shown
        raise ScienceError(f"options.{option.name}: the number is out of range; give {kind}{_bounds(option)}")
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not math.isfinite(value):
        raise ScienceError(f"options.{option.name}: {value!r} is not {kind}; give {kind}{_bounds(option)}")
    if value < (-math.inf if option.lowest is None else option.lowest) or value > (
        math.inf if option.highest is None else option.highest
    ):
        raise ScienceError(f"options.{option.name}: {value} is out of bounds; give {kind}{_bounds(option)}")
    return value if whole else float(value)


def _bounds(option: Option) -> str:
    lowest = "" if option.lowest is None else f" of at least {option.lowest}"
    highest = "" if option.highest is None else f" of at most {option.highest}"
    return " and".join(part for part in (lowest, highest) if part)
