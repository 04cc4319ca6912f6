"""What a ranking says, as it is stored: its answer, the candidates that the answer covers, and its order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from service.store.dict_form import content


@content
class NamedCandidate:
    """A candidate by its id and the name that it had then."""

    id: str
    """Id of the candidate's checkpoint, which never changes."""
    name: str
    """Name of the candidate's checkpoint at that time."""


@content
class MissingCandidate(NamedCandidate):
    """A candidate that was asked for and is not in the answer."""

    state: str
    """State of its evaluation, which is failed or canceled."""


@content
class Coverage:
    """Which of the candidates that were asked for the answer rests on."""

    candidates: int
    """Number of candidates that were asked for."""
    evaluated: int
    """Number of candidates whose evaluation is done."""
    open: int = 0
    """Number of candidates whose evaluation is not over yet."""
    missing: tuple[MissingCandidate, ...] = ()
    """Candidates whose evaluation failed or was canceled; the best may be among them."""

    @property
    def is_complete(self) -> bool:
        """Whether every candidate that was asked for was evaluated."""
        return self.evaluated == self.candidates


@content
class Answer:
    """Which candidate the fused score chooses, how sure it is, and which finetune run would help most."""

    text: str
    """The whole answer in a few sentences."""
    coverage: Coverage
    """Candidates that the answer rests on, and those that are missing."""
    separated: bool = False
    """Whether every candidate was evaluated and the first one leads in most resamplings of the evidence; if not,
    the answer abstains."""
    first: NamedCandidate | None = None
    """Candidate with the highest fused score; null where no candidate has one."""
    tied: tuple[NamedCandidate, ...] = ()
    """Candidates that the evidence does not separate, the first among them; empty where one leads."""
    probability_best: float | None = None
    """Probability that the first candidate has the best outcome of those evaluated."""
    steadiness: float | None = None
    """Share of resamplings of the evidence in which the first candidate leads."""
    expected_regret: float | None = None
    """Loss to expect from choosing the first candidate, in the outcome's unit; null without outcomes on other
    targets."""
    past_targets: int = 0
    """Number of other targets of this task that the answer was learned from: those that compare two candidates or
    more."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Weights of the measures in the fused score, by name."""
    next_run: NamedCandidate | None = None
    """Tied candidate whose finetune run helps most for its time; null where none is needed."""
    next_run_seconds: float | None = None
    """Estimated seconds of that finetune run."""
