"""The published flags: which scores may place a candidate, and what to keep in mind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

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

    @property
    def of_spread(self) -> list[str]:
        """Flags of a score that is nearer to another candidate's than its spread."""
        return [name for name, flag in self.published.items() if flag.within_spread]

    def is_sound(self, score: Score | None) -> bool:
        """Whether a candidate can be placed by this score."""
        return score is not None and score.value is not None and self.may_rank(score.flags)

    def about(self, measures: Iterable[str], facts: EvaluationFacts) -> EvaluationFacts:
        """These facts without the flags that are about other measures than these: facts that were copied from an
        equal evaluation may hold some."""
        asked = set(measures)
        return replace(facts, flags=tuple(name for name in facts.flags if self._is_about(name, asked)))

    def _is_about(self, name: str, measures: Set[str]) -> bool:
        flag = self.published.get(name)
        return flag is None or flag.measures is None or not measures.isdisjoint(flag.measures)

    def of_list(self, candidates: Sequence[tuple[EvaluationFacts, Mapping[str, Score]]]) -> list[str]:
        """The candidates' own flags, and those that only a comparison of their facts and scores shows."""
        raised = {flag for facts, _ in candidates for flag in facts.flags}
        return sorted(raised | {name for name, flag in self.published.items() if _differs(flag, candidates)})

    def meanings(self, names: Iterable[str]) -> list[str]:
        """A sentence for each of these flags that is published, by name."""
        wanted = set(names)
        return [f"{name}: {flag.meaning}" for name, flag in self.published.items() if name in wanted]


def _differs(flag: PublishedFlag, candidates: Sequence[tuple[EvaluationFacts, Mapping[str, Score]]]) -> bool:
    """Whether candidates with a score that this flag is about differ in the fact that raises it."""
    if flag.differs is None:
        return False
    values = {getattr(facts, flag.differs, None) for facts, scores in candidates if _is_scored(flag, scores)}
    return len(values - {None}) > 1


def _is_scored(flag: PublishedFlag, scores: Mapping[str, Score]) -> bool:
    scored = {name for name, score in scores.items() if score.value is not None}
    return flag.measures is None or not scored.isdisjoint(flag.measures)


def flags(session: Session) -> Flags:
    """The flags as they are published now."""
    return Flags({**capabilities.of_kind(session, FLAGS), **OWN})
