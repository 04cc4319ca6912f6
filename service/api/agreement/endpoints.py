"""/v1/agreement."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from service.api.agreement import service
from service.api.agreement.schemas import SliceOut
from service.api.errors import FIND_PROBLEMS
from service.ledger.records import Slice
from service.store.session import reading

router = APIRouter(prefix="/v1/agreement", tags=["outcomes"])
Part = Annotated[str | None, Query(pattern=r"^[^\x00]*$", max_length=400)]


@router.get("", responses=FIND_PROBLEMS)
def read_agreement(
    target: Annotated[Part, Query(description="A dataset's name.")] = None,
    task: Annotated[Part, Query(description="Of the targets.")] = None,
    modality: Annotated[Part, Query(description="Of the targets.")] = None,
    architecture: Annotated[Part, Query(description="Only registered candidates of this one.")] = None,
    zoo: Annotated[Part, Query(description="Only rows of this source: an import's, or `finetune run`.")] = None,
    metric: Annotated[Part, Query(description="Of the outcomes; else the one that most have.")] = None,
    source_task: Annotated[Part, Query(description="Only registered candidates trained on this task.")] = None,
    ranking: Annotated[Part, Query(description="Scores by this ranking's protocol, where there are any.")] = None,
    published: Annotated[
        bool, Query(description="Whether the fused score starts from published studies, or trusts no measure.")
    ] = True,
    scored: Annotated[bool, Query(description="Only targets where measures have scores.")] = False,
    thorough: Annotated[
        bool, Query(description="With permutation p and intervals over candidates and test images: takes longer.")
    ] = False,
    by_target: Annotated[bool, Query(description="With the figures of each target.")] = False,
) -> SliceOut:
    """How well every measure's scores told outcomes: rank correlations, regret, intervals."""
    part = Slice(target, task, modality, architecture, zoo, metric, source_task)
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
