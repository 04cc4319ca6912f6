"""How the outcomes of a comparison group were trained, in words and in epochs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from service.store import capabilities, outcomes
from service.store.contents import FinetuneProtocol
from service.store.dict_form import Json, plain
from service.store.published import DEFAULT, FINETUNE_PROTOCOLS
from service.store.session import Session
from service.store.tables import ComparisonGroup, LedgerRow

_SAID_APART = ("epochs", "seed")  # the first in any case, the second never, since it differs within a group


@dataclass(frozen=True)
class Training:
    """How the outcomes of one comparison group were trained; an import says no more than where it comes from."""

    words: str
    epochs: int | None = None  # at most
    steps: int | None = None  # at most in an epoch; None: every image is seen


@dataclass(frozen=True)
class Trainings:
    """The comparison groups of own runs, and the protocol that a run has when its request gives none."""

    groups: Mapping[str, ComparisonGroup]
    usual: FinetuneProtocol | None

    def of(self, row: LedgerRow) -> Training:
        """The training behind an outcome."""
        return self.of_group(row.comparison_group, source=row.source)

    def of_group(self, group_id: str, *, source: str | None = None) -> Training:
        """The training of a comparison group; the id of an import's group is its source unless that is given."""
        group = self.groups.get(group_id)
        if group is None:
            return Training(f"imported from {source or group_id}")
        return Training(self._words(group), group.protocol.epochs, group.protocol.steps)

    def _words(self, group: ComparisonGroup) -> str:
        """The method, its options, the epochs, and the protocol as far as it differs from the usual one."""
        usual = plain(self.usual) if self.usual else {}
        different = {
            name: value
            for name, value in plain(group.protocol).items()
            if name not in _SAID_APART and (name not in usual or usual[name] != value)
        }
        said = {**group.options, "epochs": group.protocol.epochs, **different}
        return ", ".join([group.method, *_listed(said)])


def _listed(values: Json) -> list[str]:
    return [f"{name} {value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()]


def trainings(session: Session) -> Trainings:
    """The groups as they are stored, and the usual protocol as it is published."""
    usual = capabilities.of_kind(session, FINETUNE_PROTOCOLS).get(DEFAULT)
    return Trainings(outcomes.groups(session), usual)
