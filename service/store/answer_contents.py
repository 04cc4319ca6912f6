"""What a ranking says, as it is stored: its answer, the candidates that the answer covers, and its order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from service.store.contents import Figure
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
class PastAnswers:
    """What such answers would have been on past targets, each from the others, and what came."""

    targets: int
    """Number of past targets of this task that were answered as if they were new."""
    expected: float
    """Mean regret of the first choice that was expected, in the unit of the outcomes."""
    came: float
    """Mean regret of the first choice that came."""


@content
class Answer:
    """What to do: use one candidate, any of several, or finetune a shortlist; and what that may cost.

    Regret is how much better the best of these candidates is than the chosen one.
    """

    text: str
    """The whole answer in a few sentences."""
    coverage: Coverage
    """Candidates that the answer rests on, and those that are missing."""
    kind: str | None = None
    """Kind of the answer: use, any or shortlist; null without evidence, and where some are open or missing."""
    first: NamedCandidate | None = None
    """Candidate of least expected regret, which a shortlist starts with; null where there is no evidence."""
    shortlist: tuple[NamedCandidate, ...] = ()
    """Fewest candidates of which one is within the tolerance of the best but for the risk, best first."""
    equal: tuple[NamedCandidate, ...] = ()
    """Candidates that are each within the tolerance of the best but for the risk, the likeliest first."""
    within_equal: float | None = None
    """Least of the probabilities with which these are within the tolerance; null where there are none."""
    cheapest: NamedCandidate | None = None
    """Candidate of the equal ones that trains fastest; null where the times are not known."""
    tolerance: float = 0.01
    """How much worse than the best a choice may be, in the metric, or in standard deviations if `unit` says so."""
    risk: float = 0.2
    """Probability with which a choice may be worse than that."""
    unit: str = "points"
    """What the sentences count differences in: points (hundredths of a metric from 0 to 1), the metric's own unit,
    or standard deviations of the candidates' outcomes, where nothing is known of the metric's spread."""
    within: float | None = None
    """Probability that the first candidate is within the tolerance of the best of these candidates."""
    cover: float | None = None
    """Probability that one of the shortlist is within the tolerance of the best of these candidates."""
    probability_best: float | None = None
    """Probability that the first candidate is the best of these candidates."""
    expected_regret: float | None = None
    """Expected regret of the first candidate, as the tolerance is counted; null where there is no answer."""
    regret_interval: tuple[float, float] | None = None
    """Ends of an 80 % interval of the regret of the first candidate."""
    past: PastAnswers | None = None
    """What such answers expected on past targets and what came; null where there are none or nobody asked yet."""
    past_targets: int = 0
    """Number of other targets of this task that the answer was learned from: those that compare two candidates or
    more."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Slopes of the measures in the fused order, by name: deviations of the outcome for one of the score."""
    next_run: NamedCandidate | None = None
    """Candidate of the shortlist to finetune next; null where none is needed."""
    next_run_seconds: float | None = None
    """Estimated seconds of that finetune run."""
    shortlist_seconds: float | None = None
    """Estimated seconds of finetuning those of the shortlist that have no outcome here; null where not known."""


@content
class DerivedScore:
    """A score that was derived from the ledger: the fused score or the history prior."""

    value: float | None
    """Number of the score, higher is better; null where there is none."""
    flags: tuple[str, ...] = ()
    """Flags that say why the score can be trusted less."""
    reason: str | None = None
    """Reason why there is no number; null otherwise."""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    """Figures that the number was computed from, by name."""


@content
class ListedCandidate(NamedCandidate):
    """One row of the ranked list as it was."""

    position: int | None
    """Place by the ordering measure; null where the candidate had none."""
    score: float | None
    """Score by the measure that orders the list; null where there is none."""
    flags: tuple[str, ...] = ()
    """Flags of the candidate and of the score that orders the list."""
    derived: Mapping[str, DerivedScore] = field(default_factory=dict)
    """Scores that were derived from the ledger, by name."""
    outcome: float | None = None
    """Outcome on this very target that was known then, in the ledger's metric."""


@content
class MeasureAgreement:
    """How well one measure's scores agreed with outcomes on past targets: plain means over them."""

    targets: int
    """Number of targets that the means are over."""
    candidates: int
    """Number of different candidates on these targets."""
    no_ranking: int
    """Number of targets left out because every candidate has the same score there."""
    weighted_tau: float | None
    """Mean weighted Kendall's tau; 1 is the same order, 0 is none, the top weighs most."""
    kendall_tau: float | None
    """Mean Kendall's tau-b between scores and outcomes."""
    pearson: float | None
    """Mean Pearson's correlation of scores and outcomes."""
    hits: float
    """Number of targets on which the first choice had the best outcome."""
    regret: float | None
    """Mean loss from following the first choice, in the outcome's unit."""
    p: float | None = None
    """Two-sided p of the mean Kendall's tau under shuffled outcomes; null where it was not computed."""
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """95 % intervals of the mean weighted tau, by what is drawn again: targets or candidates."""


@content
class TrackRecord:
    """How often each measure was right on past targets like this one."""

    similar: str
    """Past targets that count, in words."""
    targets: tuple[str, ...] = ()
    """Names of the past targets that count."""
    measures: Mapping[str, MeasureAgreement | None] = field(default_factory=dict)
    """Agreement of each measure with outcomes, by name; null where there is no history yet."""


@content
class HeldGroup:
    """What a comparison group holds of one target."""

    id: str
    """Id of the group; that of an import is its source."""
    words: str
    """How its outcomes were trained, or where they were imported from."""
    metric: str
    """Metric that these outcomes are in."""
    candidates: tuple[str, ...]
    """Names of the candidates with an outcome."""
    seeds: int
    """Number of different seeds of the trainings."""
    outcomes: int
    """Number of trainings: candidates and seeds."""
    epochs: int | None
    """Largest number of epochs of a training; null where an import does not say."""


@content
class Comparison:
    """Which outcomes on a target count, where there are outcomes of several comparison groups."""

    target: str
    """Name of the target, which may be the ranking's own."""
    group: HeldGroup
    """Comparison group whose outcomes count."""
    left_out: tuple[HeldGroup, ...]
    """Comparison groups whose outcomes are left out."""


@content
class LearnedFrom:
    """What an answer was learned from."""

    targets: tuple[str, ...] = ()
    """Names of the past targets of this task whose outcomes the answer was learned from."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Comparison group of the outcomes that were taken on each of these targets, in words."""
    comparisons: tuple[Comparison, ...] = ()
    """Targets with outcomes of several comparison groups, the ranking's own first: what counts, and what is left
    out."""
    trust: Mapping[str, float] = field(default_factory=dict)
    """Trust that published studies give to the measures of the ranking, by name."""


@content
class RevisionContent:
    """All that a ranking says at one moment: its answer, its order, and what both were learned from."""

    answer: Answer
    """Answer, with the candidates that it rests on."""
    order: tuple[ListedCandidate, ...]
    """Rows of the ranked list in their order, best first."""
    track_record: TrackRecord
    """Track record of each measure on past targets."""
    learned_from: LearnedFrom
    """Targets and trust that the answer was learned from."""
    notes: tuple[str, ...] = ()
    """What to keep in mind when reading the list, in sentences."""
