"""The published flags: which scores may place a candidate, and what to keep in mind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from service.store import capabilities
from service.store.contents import EvaluationFacts
from service.store.published import FLAGS, PublishedFlag
from service.store.session import Session
from service.store.tables import Score

PARTLY_LOADED = "partly_loaded"
OWN = {
    PARTLY_LOADED: PublishedFlag(
        "Part of the network outside its head is not in the checkpoint's file and had random values. Such a "
        "candidate stands after all others unless the ranking asks for `partly_loaded: mixed`.",
        may_rank=False,
    )
}  # flags of the service itself: what it says of a checkpoint that no worker evaluated yet


@dataclass(frozen=True)
class Flags:
    """The flags that the workers published and the service's own, by name."""

    published: Mapping[str, PublishedFlag]

    def may_rank(self, names: Iterable[str]) -> bool:
        """Whether a score with these flags may place a candidate; an unpublished flag does not forbid it."""
        return all(self.published[name].may_rank for name in names if name in self.published)

    @property
    def of_missing(self) -> list[str]:
        """Flags of a derived score that has no value."""
        return [name for name, flag in self.published.items() if flag.marks_missing]

    def is_sound(self, score: Score | None) -> bool:
        """Whether a candidate can be placed by this score."""
        return score is not None and score.value is not None and self.may_rank(score.flags)

    def of_list(self, facts: Sequence[EvaluationFacts]) -> list[str]:
        """The candidates' own flags, and those that only a comparison of candidates shows."""
        raised = {flag for evaluation in facts for flag in evaluation.flags}
        return sorted(raised | {name for name, flag in self.published.items() if _differs(flag, facts)})

    def meanings(self, names: Iterable[str]) -> list[str]:
        """A sentence for each of these flags that is published, by name."""
        wanted = set(names)
        return [f"{name}: {flag.meaning}" for name, flag in self.published.items() if name in wanted]


def _differs(flag: PublishedFlag, facts: Sequence[EvaluationFacts]) -> bool:
    """Whether the candidates differ in the fact that raises this flag."""
    if flag.differs is None:
        return False
    values = {getattr(evaluation, flag.differs, None) for evaluation in facts}
    return len(values - {None}) > 1


def flags(session: Session) -> Flags:
    """The flags as they are published now."""
    return Flags({**capabilities.of_kind(session, FLAGS), **OWN})
