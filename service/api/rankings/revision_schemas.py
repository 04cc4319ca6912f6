"""Revisions of a ranking's answer, as they go out over HTTP."""

from __future__ import annotations

import re
from dataclasses import field
from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from service.api.outcomes.schemas import GroupOut
from service.store.answer_contents import Answer, LearnedFrom, NamedCandidate
from service.store.dict_form import content

_AS_OF = r"^(now|[1-9][0-9]{0,8})$"


def _as_of(text: str | None) -> str | None:
    if text is not None and not re.fullmatch(_AS_OF, text):
        raise PydanticCustomError(
            "as_of",
            "this is neither `now` nor the number of a revision",
            {"expected": "now, or the number of a stored revision from 1"},
        )
    return text


AsOf = Annotated[
    str | None,
    AfterValidator(_as_of),
    Query(
        json_schema_extra={"pattern": _AS_OF},
        description="Revision of the answer to show, by its number; `now` derives it from the ledger as it is.",
    ),
]


class GrowthOut(BaseModel):
    """What changed of the ledger in one way on one target."""

    model_config = ConfigDict(from_attributes=True)

    change: str = Field(description="What happened: added, replaced, removed, excluded or included.")
    kind: str = Field(
        description="What it happened to: outcome, score, evaluation, or the target's description (task, modality "
        "and cohort)."
    )
    target: str = Field(description="Name of the target that they are on.")
    count: int = Field(description="Number of outcomes, scores, evaluations or descriptions that changed.")


class NewerOut(BaseModel):
    """Where a newer answer than the one that is shown can be read, and why there is one."""

    as_of: str = Field(description="Value of `as_of` that shows it: `now`, or the number of a stored revision.")
    text: str = Field(description="Reason why there is a newer answer, in a sentence or two.")
    changes: list[GrowthOut] = Field(description="What changed of the ledger since the answer that is shown.")
    further_changes: int = Field(
        description="Number of changes beyond those in `changes`, which are the first ones."
    )


@content
class AnswerOut(Answer):
    """The answer that is shown, which stored revision it is, and what it was learned from."""

    revision: int | None = None
    """Number of the stored revision; null where the answer was derived for this reading."""
    at: datetime | None = None
    """Time at which the revision was stored; null where it was derived for this reading."""
    latest_revision: int | None = None
    """Number of the newest stored revision; null where none is stored yet."""
    ledger_revision: int = 0
    """Revision of the ledger that the answer was learned from."""
    comparison_group: GroupOut | None = None
    """Comparison group that the reader or the request chose, whose outcomes count on targets that have any; null
    where the group with the most evidence counts on each."""
    learned_from: LearnedFrom = field(default_factory=LearnedFrom)
    """Targets and trust that the answer was learned from."""
    newer: NewerOut | None = None
    """Newer answer than this one; null where this is the newest, or the ledger did not change since."""


class MovedOut(BaseModel):
    """A candidate whose place in the list changed."""

    model_config = ConfigDict(from_attributes=True)

    candidate: NamedCandidate = Field(description="Candidate that has another place now.")
    before: int | None = Field(description="Place in the revision before; null where it had none.")
    after: int | None = Field(description="Place in this revision; null where it has none.")


class DifferenceOut(BaseModel):
    """What a revision says that the one before it did not."""

    model_config = ConfigDict(from_attributes=True)

    leader_changed: bool = Field(description="Whether another candidate leads the list.")
    answer_changed: bool = Field(description="Whether the answer is of another kind or names other candidates.")
    moved: list[MovedOut] = Field(description="Candidates whose place in the list changed.")
    text: str = Field(description="What changed, in a sentence or two.")


class RevisionOut(BaseModel):
    """One stored revision of a ranking's answer, and how it differs from the one before."""

    number: int = Field(description="Number of the revision, counted from 1 in each ranking.")
    at: datetime = Field(description="Time at which the revision was stored.")
    ledger_revision: int = Field(description="Revision of the ledger that the answer was learned from.")
    holds_until: int = Field(
        description="Latest revision of the ledger at which the answer was derived again and was the same."
    )
    answer: Answer = Field(description="Answer of the fused score, and which candidates it rests on.")
    learned_from: LearnedFrom = Field(description="Targets and trust that the answer was learned from.")
    difference: DifferenceOut | None = Field(
        description="What changed since the revision before; null for the first one."
    )
    changes: list[GrowthOut] = Field(description="What changed of the ledger since the revision before.")
    further_changes: int = Field(
        description="Number of changes beyond those in `changes`, which are the first ones."
    )
    why: str = Field(description="Reason why this revision was stored, in a sentence.")
