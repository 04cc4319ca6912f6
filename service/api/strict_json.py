"""Strict JSON: what every part of the service, the databases and other clients can hold."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from service.api.errors import BrokenRequestError

DEEPEST = 32  # objects and lists in one another
_REMEDY = "send a JSON document: finite numbers, text in UTF-8, no more than 32 levels deep"


def strict_json(body: bytes) -> Any:
    """The body's value; BrokenRequestError for what `parsed` refuses."""
    try:
        return parsed(body)
    except ValueError as error:
        raise BrokenRequestError(f"the body is {error}", field="body", remedy=_REMEDY) from None


def parsed(text: bytes | str) -> Any:
    """The value of a JSON text; ValueError for NaN and infinity, lone surrogates, and extreme nesting."""
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        why = str(error).partition("\n")[0]
        raise ValueError(f"not strict JSON: {why}") from None
    if _deeper(value, DEEPEST):
        raise ValueError("nested too deeply")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:40]} is too large")
    return value


def _deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper(item, levels - 1) for item in inner)
