"""/agreement for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fastapi import APIRouter, Request, Response

from service.api.agreement import service
from service.api.agreement.schemas import SliceOut, TargetOut
from service.api.names import Part
from service.api.outcomes import service as outcomes
from service.api.outcomes.schemas import OutcomeOut
from service.api.web.render import page
from service.ledger.records import Slice
from service.store.session import reading

router = APIRouter(include_in_schema=False)
MOST_EXCLUDED = 100  # rows that are shown, the newest


@dataclass(frozen=True)
class AgreementPage:
    """Every measure's track record over a slice of the ledger, and what a slice can be chosen by."""

    template: ClassVar[str] = "agreement/agreement.html"
    agreement: SliceOut
    chosen: Slice
    choices: dict[str, list[str]]
    groups: dict[str, str]
    excluded: list[OutcomeOut]
    has_outcomes: bool


@router.get("/agreement")
def show_agreement(
    request: Request,
    target: Part = None,
    task: Part = None,
    modality: Part = None,
    architecture: Part = None,
    zoo: Part = None,
    protocol: Part = None,
) -> Response:
    """Every measure's track record, by slice; a field that the form leaves empty does not narrow the slice."""
    chosen = Slice(
        target=target or None,
        task=task or None,
        modality=modality or None,
        architecture=architecture or None,
        zoo=zoo or None,
        group=protocol or None,
    )
    with reading() as session:
        targets = service.targets(session)
        agreement = service.over(session, chosen, thorough=False, by_target=False)
        excluded = outcomes.listed(session, after=None, limit=MOST_EXCLUDED, excluded=True)
    context = AgreementPage(
        agreement,
        chosen,
        choices=_choices(targets),
        groups=_groups(targets),
        excluded=excluded.items,
        has_outcomes=bool(targets),
    )
    return page(request, context)


def _choices(targets: Sequence[TargetOut]) -> dict[str, list[str]]:
    """Field of the form -> its values."""
    return {
        "task": sorted({target.task for target in targets if target.task}),
        "modality": sorted({target.modality for target in targets if target.modality}),
        "target": [target.name for target in targets],
    }


def _groups(targets: Sequence[TargetOut]) -> dict[str, str]:
    """Id -> words of every comparison group, whether or not it counts."""
    return {group.id: group.words for target in targets for group in (target.group, *target.other_groups)}
