"""What a measure is, and how one file adds one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

from models_zoo.registry import Registry
from worker.science import flags
from worker.science.errors import NotApplicableError, ScienceError
from worker.science.evidence.parts import USUAL_PARTS, Evidence, Part
from worker.science.flags import Flag
from worker.science.target_tasks.registry import LabelKind, target_tasks

NOT_APPLICABLE = flags.register(
    Flag(
        "not_applicable",
        "The measure has no meaning for this candidate or target, or there is nothing to derive it from. The "
        "reason is given with the score.",
        may_rank=False,
        marks_missing=True,
    )
)
FAILED = flags.register(
    Flag(
        "failed",
        "The measure could not be computed for this candidate; the reason is given with the score.",
        may_rank=False,
    )
)
SATURATED = flags.register(
    Flag(
        "saturated",
        "The features separate the labels exactly, so rounding decides the score.",
        may_rank=False,
    )
)
DEGENERATE = flags.register(
    Flag(
        "degenerate",
        "The features are all equal, or the source's affine parameters carry no information (most channels are "
        "tied), so the score is large or small for no reason. A network that was never trained looks like this.",
        may_rank=False,
    )
)

EVERY_KIND = frozenset(LabelKind)


@dataclass(frozen=True)
class Score:
    """One measure's number for one candidate (higher is better), or the reason there is none."""

    value: float | None
    flags: tuple[str, ...] = ()  # names of flags, as in `worker.science.flags`
    record: Mapping[str, Any] = field(default_factory=dict)  # N, D, C, scale, layer ...: JSON values
    spread: float | None = None  # standard deviation of the value over random starts; None: nothing is random
    reason: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Measure:
    """A registered score function, its source, and what it needs to be computed."""

    name: str
    title: str
    source: str  # paper, equation
    labels: frozenset[LabelKind]  # the kinds of labels that it is defined for
    needs: frozenset[Part]  # the parts of the evidence it looks at
    score: Callable[[Evidence], Score]
    # Mean weighted tau with outcomes that a published medical study found, 0 where there is none: how far the
    # fused score trusts it before a ledger has outcomes of its own.
    trust: float = 0.0
    usual: bool = False  # the one measure to order by while no measure is trusted yet
    grows_with_width: bool = False  # whether its values grow with the number of features: see `common_width`
    list_flags: frozenset[Flag] = frozenset()  # flags of whole lists that are about this measure's scores

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the target tasks that it can be computed for; decoder stages need a label for every voxel."""
        fitting = [task for task in target_tasks().values() if task.label_kind in self.labels]
        return tuple(task.name for task in fitting if task.per_voxel or Part.STAGES not in self.needs)

    @property
    def epochs(self) -> int:
        """Training epochs that it takes whatever the protocol says; shared with the other measures."""
        return int(bool(self.needs & {Part.AFFINES, Part.EPOCH, Part.NULL}))

    @property
    def epochs_per_permutation(self) -> int:
        """Training epochs that it takes for each of the protocol's `null_permutations`."""
        return int(Part.NULL in self.needs)

    @property
    def optional(self) -> bool:
        """Whether it is computed only where it is asked for by name, since it takes more than one epoch."""
        return Part.NULL in self.needs


_REGISTERED: Registry[Measure] = Registry("measure", "worker.science.measures")


def register(
    *,
    title: str,
    source: str,
    labels: Set[LabelKind] = frozenset({LabelKind.CLASS}),
    needs: Set[Part] = USUAL_PARTS,
    name: str = "",
    trust: float = 0.0,
    usual: bool = False,
    grows_with_width: bool = False,
    list_flags: Set[Flag] = frozenset(),
) -> Callable[[Callable[[Evidence], Score]], Callable[[Evidence], Score]]:
    """Make the decorated `Evidence -> Score` function a measure (named like it, or `name`); see Measure."""
    if unknown := set(needs) - set(Part):
        raise ValueError(f"needs: {', '.join(sorted(unknown))} is no part of the evidence; use {', '.join(Part)}")

    def add(score: Callable[[Evidence], Score]) -> Callable[[Evidence], Score]:
        measure = Measure(
            name=name or score.__name__,
            title=title,
            source=source,
            labels=frozenset(labels),
            needs=frozenset(needs),
            score=score,
            trust=trust,
            usual=usual,
            grows_with_width=grows_with_width,
            list_flags=frozenset(list_flags),
        )
        _REGISTERED.add(measure.name, measure)
        return score

    return add


def measures() -> dict[str, Measure]:
    """Every registered measure by name (scans `worker.science.measures`)."""
    return _REGISTERED.all()


def needs_of(chosen: Iterable[Measure]) -> frozenset[Part]:
    """The parts of the evidence that these measures look at."""
    return frozenset[Part]().union(*(measure.needs for measure in chosen))


def evaluate(measure: Measure, evidence: Evidence) -> Score:
    """Run one measure; what it can't score becomes a flagged score with the reason, never an exception."""
    start = perf_counter()
    try:
        score = measure.score(evidence)
    except NotApplicableError as error:
        score = Score(None, (NOT_APPLICABLE.name,), reason=str(error))
    except ScienceError as error:
        score = Score(None, (FAILED.name,), reason=str(error))
    return replace(score, seconds=perf_counter() - start)
