"""How answers come out in simulated labs, where the truth is known: kinds, probabilities and regrets.

    python -m benchmarks.simulated_labs --labs 100 --output docs/simulated-labs.md

A lab has past targets, measures and candidates whose outcomes are made by a model that is close to that of the
answers, except where its kind says otherwise. Nothing of the answers was chosen by these tables but that the
variance of a candidate's effect is estimated.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.ledger.statistics.combination import Combination, Terms, combine, model_of
from service.ledger.statistics.decision import Kind
from service.ledger.statistics.target_record import TargetRecord

KINDS = {
    "ordinary": "measures whose slopes are drawn around .1, candidates with effects",
    "informative": "measures whose slopes are around .4",
    "adversarial": "ordinary, but one of the two published measures has a slope of -.6",
    "noise": "outcomes that nothing tells of",
}
CANDIDATES = (5, 20, 50)
PAST_TARGETS = (0, 1, 3, 8, 20, 30)
PUBLISHED = ("m0", "m1")
LEVEL, SPREAD, SPREAD_WIDTH = 0.8, 0.02, 0.7


@dataclass(frozen=True)
class Seen:
    """One answer, and what came of it."""

    kind: Kind
    named: int
    covered: bool  # one that it named is within the tolerance
    within: float
    came_within: bool
    best: float
    came_best: bool
    expected: float
    came: float


def lab(chance: np.random.Generator, candidates: int, past_targets: int, kind: str) -> list[TargetRecord]:
    """The records of a lab; the last one is the new target."""
    measures = int(chance.integers(3, 9))
    slopes = {"noise": np.zeros(measures), "informative": np.abs(chance.normal(0.4, 0.1, measures))}.get(
        kind, chance.normal(0.1, 0.15, measures)
    )
    if kind == "adversarial":
        slopes[0] = -0.6
    effects = np.zeros(candidates) if kind == "noise" else chance.normal(0, np.sqrt(0.3), candidates)
    shares = chance.random(measures) < 0.6  # measures that look at the same thing
    names = [f"c{number:04d}" for number in range(candidates)]
    records = []
    for target in range(past_targets + 1):
        common = chance.normal(size=(candidates, 1))
        scores = 0.8 * chance.normal(size=(candidates, measures)) + 0.6 * common * shares
        told = effects + scores @ (slopes + 0.1 * chance.normal(size=measures) * (kind != "noise"))
        told = told / told.std() * np.sqrt(0.5) if told.std() > 0 else told
        outcome = told + chance.normal(0, np.sqrt(1.0 if kind == "noise" else 0.5), candidates)
        spread = SPREAD * np.exp(SPREAD_WIDTH * chance.normal())
        values = np.clip(LEVEL + spread * (outcome - outcome.mean()) / outcome.std(), 0.001, 0.999)
        seen = chance.random(candidates) < (1.0 if target == past_targets else 0.8)
        missing = chance.random(scores.shape) < chance.choice([0.0, 0.2])
        records.append(
            TargetRecord(
                target=f"t{target}",
                outcomes={name: float(v) for name, v, there in zip(names, values, seen, strict=True) if there},
                scores={
                    f"m{m}": {names[c]: float(scores[c, m]) for c in range(candidates) if not missing[c, m]}
                    for m in range(measures)
                },
                metric="dice",
            )
        )
    return records


def seen(records: Sequence[TargetRecord]) -> Seen:
    """The answer on the last target by the others, and what came."""
    *past, new = records
    model = model_of(past, dict.fromkeys(PUBLISHED, 0.4), new.scores)
    names = sorted(new.outcomes)
    found: Combination = combine(model, new.scores, names, Terms("dice"))
    assert found.decision is not None
    decision, first = found.decision, found.decision.first
    outcomes = np.array([new.outcomes[name] for name in names])
    lost = outcomes.max() - outcomes
    return Seen(
        kind=decision.kind,
        named=len(decision.shortlist),
        covered=bool(lost[list(decision.shortlist)].min() <= found.tolerance),
        within=float(decision.within[first]),
        came_within=bool(lost[first] <= found.tolerance),
        best=float(decision.best[first]),
        came_best=bool(lost[first] == 0),
        expected=100 * float(decision.regret[first]),
        came=100 * float(lost[first]),
    )


def row(name: str, candidates: int, past_targets: int, found: Sequence[Seen]) -> str:
    """One line of the table."""
    sure = [one for one in found if one.kind != Kind.SHORTLIST]
    lists = [one for one in found if one.kind == Kind.SHORTLIST]

    def mean(values: Sequence[float]) -> str:
        return f"{np.mean(values):.2f}" if values else ""

    cells = [
        name,
        str(candidates),
        str(past_targets),
        f"{len(sure) / len(found):.2f}",
        mean([one.came_within for one in sure]),
        mean([one.named for one in lists]),
        mean([one.covered for one in lists]),
        mean([one.within for one in found]),
        mean([one.came_within for one in found]),
        mean([one.best for one in found]),
        mean([one.came_best for one in found]),
        mean([one.expected for one in found]),
        mean([one.came for one in found]),
    ]
    return "| " + " | ".join(cells) + " |"


HEADER = (
    "| lab | candidates | past targets | answers that name one or any | of these within a point "
    "| size of shortlists | one of them within a point | P(within) said | came | P(best) said | came "
    "| regret expected | came |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)


def main() -> None:
    """Simulate, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labs", type=int, default=100, help="labs in each line of the table")
    parser.add_argument("--output", type=Path, required=True, help="Markdown file to write")
    arguments = parser.parse_args()
    lines = [HEADER]
    for kind, candidates, past_targets in itertools.product(KINDS, CANDIDATES, PAST_TARGETS):
        chance = np.random.default_rng([list(KINDS).index(kind), candidates, past_targets])
        found = [seen(lab(chance, candidates, past_targets, kind)) for _ in range(arguments.labs)]
        lines.append(row(kind, candidates, past_targets, found))
        print(lines[-1], flush=True)
    about = "\n".join(f"- **{name}**: {what}" for name, what in KINDS.items())
    table = "\n".join(lines)
    command = f"python -m benchmarks.simulated_labs --labs {arguments.labs}"
    terms = f"Tolerance one point, risk .2, {arguments.labs} labs a line; two measures count as published."
    text = [f"# Answers in simulated labs\n\nMade by `{command}`. {terms}", about, table]
    arguments.output.write_text("\n\n".join(text) + "\n")


if __name__ == "__main__":
    main()
