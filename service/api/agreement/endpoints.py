"""/v1/agreement."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from service.api.agreement import service
from service.api.agreement.schemas import SliceOut
from service.api.errors import FIND_PROBLEMS
from service.api.names import Part
from service.ledger.records import Slice
from service.store.session import reading

router = APIRouter(prefix="/v1/agreement", tags=["outcomes"])


def _slice(
    target: Annotated[Part, Query(description="Only the target of this name.")] = None,
    task: Annotated[Part, Query(description="Only targets of this task.")] = None,
    modality: Annotated[Part, Query(description="Only targets of this modality.")] = None,
    architecture: Annotated[Part, Query(description="Only registered candidates of this architecture.")] = None,
    zoo: Annotated[
        Part, Query(description="Only rows from this source; `finetune run` is the service's own.")
    ] = None,
    metric: Annotated[
        Part, Query(description="Metric of the outcomes; null takes the one that most candidates have.")
    ] = None,
    source_task: Annotated[Part, Query(description="Only registered candidates trained on this task.")] = None,
    protocol: Annotated[
        Part,
        Query(
            description="Only outcomes of the comparison group of this id; null takes the group with the most "
            "evidence on each target."
        ),
    ] = None,
) -> Slice:
    return Slice(
        target=target,
        task=task,
        modality=modality,
        architecture=architecture,
        zoo=zoo,
        metric=metric,
        source_task=source_task,
        group=protocol,
    )


@router.get("", responses=FIND_PROBLEMS)
def read_agreement(
    part: Annotated[Slice, Depends(_slice)],
    ranking: Annotated[
        Part, Query(description="Ranking whose protocol the scores shall be of, where there are any.")
    ] = None,
    published: Annotated[
        bool,
        Query(
            description="Whether the fused score starts from published studies; if not, it trusts no measure at "
            "first."
        ),
    ] = True,
    scored: Annotated[
        bool, Query(description="Whether to leave out targets where no measure has scores.")
    ] = False,
    thorough: Annotated[
        bool,
        Query(
            description="Whether to compute permutation p and the intervals over candidates and test images, "
            "which takes longer."
        ),
    ] = False,
    by_target: Annotated[bool, Query(description="Whether to include the figures of each target.")] = False,
) -> SliceOut:
    """How well the scores of every measure agree with outcomes: rank correlations, regret and intervals."""
    with reading() as session:
        return service.over(
            session,
            part,
            thorough=thorough,
            by_target=by_target,
            published=published,
            scored=scored,
            ranking_id=ranking,
        )
