"""Every sentence of an answer, as a table of cases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.ledger.sentences import NO_EVIDENCE, NO_UNIT, sentences
from service.store.answer_contents import Answer, Coverage, NamedCandidate, PastAnswers

A, B, C = (NamedCandidate(id=f"ck_{name}", name=name) for name in "ABC")
WHOLE = Coverage(candidates=3, evaluated=3)
USE = Answer(
    text="",
    coverage=WHOLE,
    kind="use",
    first=A,
    shortlist=(A,),
    equal=(A,),
    within=0.84,
    cover=0.84,
    probability_best=0.7,
    expected_regret=0.004,
    regret_interval=(0.0, 0.012),
    past_targets=9,
)
ANY = replace(USE, kind="any", equal=(A, B, C), within=0.9, within_equal=0.84)
SHORTLIST = replace(
    USE, kind="shortlist", shortlist=(A, B), equal=(), within=0.6, cover=0.83, next_run=A, next_run_seconds=300.0
)
PLACED = "none of these candidates is more than 1 point better."
COST = (
    "Taking A alone is expected to cost 0.4 points against the best (80 %: 0 to 1.2); learned from 9 past targets."
)
UNSURE = (
    "The evidence does not single one out. Finetune A and B: it is 83 % likely that one of them is "
    "within 1 point of the best of these candidates."
)
ALIKE = "Any of A, B and C will do: each is at least 84 % likely to be within {} of the best of these candidates."

CASES = {
    "use": (USE, f"Use A: it is 84 % likely that {PLACED} {COST}"),
    "never certain": (replace(USE, within=1.0), f"Use A: it is 99 % likely that {PLACED} {COST}"),
    "one candidate": (
        replace(USE, coverage=Coverage(candidates=1, evaluated=1)),
        "Use A: it is the only candidate.",
    ),
    "any": (ANY, f"{ALIKE.format('1 point')} Take A. {COST}"),
    "any, the cheapest": (
        replace(ANY, cheapest=B, tolerance=0.02),
        f"{ALIKE.format('2 points')} Take B, which trains fastest. {COST}",
    ),
    "shortlist": (
        replace(SHORTLIST, shortlist_seconds=7200.0),
        f"{UNSURE} Start with A; its outcome also tells how much the choice matters here. "
        f"That takes about 2.0 hours. {COST}",
    ),
    "shortlist, all known": (
        replace(SHORTLIST, next_run=None),
        f"{UNSURE} All of them have outcomes here; A is the best so far. {COST}",
    ),
    "what came before": (
        replace(USE, past=PastAnswers(targets=9, expected=0.012, came=0.005)),
        f"Use A: it is 84 % likely that {PLACED} {COST} "
        "On 9 past targets such answers expected a cost of 1.2 points, and 0.5 came.",
    ),
    "what came before, in a unit of its own": (
        replace(
            USE,
            unit="mm",
            tolerance=0.5,
            expected_regret=0.2,
            regret_interval=(0.0, 0.7),
            past=PastAnswers(targets=1, expected=0.3, came=0.1),
        ),
        "Use A: it is 84 % likely that none of these candidates is more than 0.5 mm better. "
        "Taking A alone is expected to cost 0.2 mm against the best (80 %: 0 to 0.7); "
        "learned from 9 past targets. "
        "On 1 past target such answers expected a cost of 0.3 mm, and 0.1 came.",
    ),
    "standard deviations": (
        replace(USE, unit="standard deviations", tolerance=0.25, expected_regret=0.1, regret_interval=(0.0, 0.3)),
        "Use A: it is 84 % likely that none of these candidates is more than "
        "0.25 standard deviations of the candidates' outcomes better. Taking A alone is expected to cost "
        "0.1 standard deviations of the candidates' outcomes against the best (80 %: 0 to 0.3); "
        f"learned from 9 past targets. {NO_UNIT}",
    ),
    "a unit of its own": (
        replace(USE, unit="mm", tolerance=0.5, expected_regret=0.2, regret_interval=(0.0, 0.7)),
        "Use A: it is 84 % likely that none of these candidates is more than 0.5 mm better. "
        "Taking A alone is expected to cost 0.2 mm against the best (80 %: 0 to 0.7); "
        "learned from 9 past targets.",
    ),
    "no history": (
        replace(USE, past_targets=0),
        f"Use A: it is 84 % likely that {PLACED} "
        "Taking A alone is expected to cost 0.4 points against the best (80 %: 0 to 1.2); "
        "there was no past target of this task to learn from, only what studies have published.",
    ),
    "so far": (
        replace(USE, kind=None, coverage=Coverage(candidates=3, evaluated=2, open=1)),
        "Of those evaluated, A comes first: "
        "it is 84 % likely that none of the others is more than 1 point better.",
    ),
    "so far, one": (
        replace(USE, kind=None, coverage=Coverage(candidates=3, evaluated=1, open=2)),
        "A is the only one evaluated.",
    ),
    "no evidence": (Answer(text="", coverage=WHOLE), NO_EVIDENCE),
    "nothing evaluated": (Answer(text="", coverage=Coverage(candidates=3, evaluated=0, open=3)), ""),
}


@pytest.mark.parametrize(("answer", "text"), CASES.values(), ids=CASES)
def test_an_answer_says_this(answer: Answer, text: str) -> None:
    assert " ".join(sentences(answer)) == text
