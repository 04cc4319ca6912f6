"""Building the network that a file is for: the registered one, or the reason why it is another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models_zoo.architecture import Network, architectures, build
from models_zoo.errors import ZooError
from models_zoo.loading.load import REMEDY, LoadReport, compare, load, what_is_missing
from models_zoo.loading.state_dicts import CheckpointError, listed
from models_zoo.norms import ALIKE

Settings = Mapping[str, Any]  # arguments of `architecture.build` beside the name


def build_and_load(
    name: str, settings: Settings, state: Mapping[str, Tensor], *, allow_partial: bool = False
) -> tuple[Network, LoadReport]:
    """The network `name` with these settings and the file's tensors in it.

    Unless partial loading is allowed, CheckpointError when its body is not loaded whole, and when the file has
    tensors left over that another setting of the same architecture uses, since then the file is that network's.
    """
    network = build(name, **settings)
    report = compare(network, state)
    if not allow_partial and (report.missing_of_body or report.surplus):
        fitting = fitting_settings(name, settings, state, better_than=report)
        if fitting is not None:
            raise CheckpointError(f"uri: {_what_is_wrong(report)}. The file fits {in_words(fitting)}. {REMEDY}")
    return network, load(network, state, allow_partial=allow_partial)


def fitting_settings(
    name: str, settings: Settings, state: Mapping[str, Tensor], *, better_than: LoadReport
) -> dict[str, Any] | None:
    """What to change in `settings` so that the body is loaded whole and more of the file is used; None if nothing.

    The architecture proposes, and a network built of the proposal, without values, confirms.
    """
    try:
        proposed = architectures()[name].recognise({key: tuple(tensor.shape) for key, tensor in state.items()})
    except (LookupError, ValueError):
        return None
    changes = {field: value for field, value in proposed.items() if not _same(value, settings.get(field))}
    report = _compared(name, {**settings, **changes}, state)
    if report is None or report.missing_of_body:
        return None
    if not better_than.missing_of_body and len(report.surplus) >= len(better_than.surplus):
        return None
    return _fewest(name, settings, changes, state, surplus=len(report.surplus))


def _fewest(
    name: str, settings: Settings, changes: dict[str, Any], state: Mapping[str, Tensor], *, surplus: int
) -> dict[str, Any]:
    """The changes without those that the file fits as well without: no tensor may show the difference."""
    for field in tuple(changes):
        others = {other: value for other, value in changes.items() if other != field}
        report = _compared(name, {**settings, **others}, state)
        if report is not None and not report.missing_of_body and len(report.surplus) <= surplus:
            changes = others
    return changes


def _compared(name: str, settings: Settings, state: Mapping[str, Tensor]) -> LoadReport | None:
    try:
        with torch.device("meta"):
            return compare(build(name, **settings), state)
    except ZooError:
        return None


def _same(proposed: Any, given: Any) -> bool:
    return list(proposed) == list(given) if isinstance(given, list | tuple) else bool(proposed == given)


def in_words(changes: Settings) -> str:
    """The settings to change, for a message: `norm = "instance"`; a norm with the same tensors is named too."""
    words = [f"{field} = {value!r}".replace("'", '"') for field, value in changes.items()]
    alike = ALIKE.get(str(changes.get("norm")))
    return " and ".join(words) + (f' (or norm = "{alike}", which has the same tensors)' if alike else "")


def _what_is_wrong(report: LoadReport) -> str:
    if report.missing_of_body:
        return what_is_missing(report)
    keys = [left.key for left in report.surplus]
    return f"{len(keys)} tensors of the file have no place in the network: {listed(keys)}"
