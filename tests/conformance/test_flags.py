"""Every flag is declared once, beside the code that raises it, with a meaning that reads alone."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import pytest

from tests.conformance.evidences import (
    constant_column,
    drifted,
    duplicate_columns,
    evidence,
    features,
    fewer_rows,
    null,
    separable,
    singleton_class,
)
from worker import science
from worker.science.evidence.figures import Figures
from worker.science.evidence.parts import Evidence, Part
from worker.science.flags import Flag, flags, raised
from worker.science.measures.registry import Measure, evaluate, measures
from worker.science.target_tasks.registry import target_tasks

SCIENCE = Path(science.__file__).parent
SPOILED = (constant_column, duplicate_columns, singleton_class, fewer_rows, separable)


def _evidences(task: str) -> list[Evidence]:
    """Ordinary and degenerate evidence, evidence with few permutations, and evidence without any part."""
    ordinary = evidence(task)
    spoiled = [replace(ordinary, features=spoil(features(task=task))) for spoil in SPOILED]
    equal = replace(features(task=task), values=features(task=task).values * 0 + 1)
    affines = {"encoder.1": replace(drifted(16), norm="GroupNorm")}
    others = [
        replace(ordinary, features=equal),
        replace(ordinary, affines=affines, null=null(3)),
        replace(ordinary, affines={"encoder.1": drifted(16, 9.0)}),
        replace(ordinary, **dict.fromkeys(Part)),
        replace(ordinary, last_encoder_norm=None),
    ]
    return [ordinary, *spoiled, *others]


@pytest.mark.parametrize("measure", measures().values(), ids=lambda measure: measure.name)
def test_every_flag_that_a_measure_returns_is_registered(measure: Measure) -> None:
    for task in measure.tasks:
        for seen in _evidences(task):
            assert set(evaluate(measure, seen).flags) <= set(flags())


@pytest.mark.parametrize("flag", flags().values(), ids=lambda flag: flag.name)
def test_a_flag_says_what_it_means_in_a_sentence(flag: Flag) -> None:
    assert len(flag.meaning.split()) >= 5
    assert flag.meaning[0].isupper()
    assert flag.meaning.endswith(".")
    assert flag.differs is None or flag.differs in {figure.name for figure in fields(Figures)}


def _trees() -> list[ast.Module]:
    return [ast.parse(file.read_text()) for file in sorted(SCIENCE.parent.rglob("*.py"))]


def _flag_made(value: ast.expr) -> list[str]:
    """The names of the flags that an expression makes: of `Flag(...)`, its first argument or its `name`."""
    calls = [node for node in ast.walk(value) if isinstance(node, ast.Call)]
    made = [call for call in calls if ast.unparse(call.func).rpartition(".")[2] == "Flag"]
    named = [[*call.args[:1], *(given.value for given in call.keywords if given.arg == "name")] for call in made]
    return [name.value for [name] in named if isinstance(name, ast.Constant)]


def _declared(tree: ast.Module) -> dict[str, str]:
    """Constant -> name of every flag that a module declares."""
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    return {ast.unparse(node.targets[0]): name for node in assigned for name in _flag_made(node.value)}


def _loaded(tree: ast.Module) -> set[str]:
    """Every name that a module reads, of a variable or of an attribute; an import alone reads nothing."""
    nodes = [node for node in ast.walk(tree) if isinstance(getattr(node, "ctx", None), ast.Load)]
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return names | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def test_every_flag_is_raised_somewhere() -> None:
    """A flag of a whole list is raised by the service, from the figure that it names."""
    trees = _trees()
    declared = {constant: name for tree in trees for constant, name in _declared(tree).items()}
    loaded = set[str]().union(*(_loaded(tree) for tree in trees))
    assert set(declared.values()) == set(flags())
    for constant, name in declared.items():
        of_list = flags()[name].differs or flags()[name].within_spread
        assert constant in loaded or of_list, f"{constant} is declared and never raised"


def test_the_flags_that_may_not_rank_are_these() -> None:
    withheld = {"degenerate", "saturated", "not_applicable", "failed"}
    assert {name for name, flag in flags().items() if not flag.may_rank} == withheld
    of_lists, of_others = {"mixed_widths"}, {"N<D", "low_spread", "beyond_paper", "few_steps", "no_affine_norm"}
    of_others |= {"many_empty", "other_spacing"}
    of_others |= {"not_converged", "interpolated", "few_permutations"}
    assert withheld | of_lists | of_others <= set(flags())
    assert of_lists <= {name for name, flag in flags().items() if flag.differs} <= set(flags()) - of_others
    assert "fewer than 20 training steps" in flags()["few_steps"].meaning
    assert "Fewer than 19 permutations" in flags()["few_permutations"].meaning
    assert "can't reach 0.05" in flags()["few_permutations"].meaning


def test_no_flag_is_named_in_two_places() -> None:
    named: Counter[str] = Counter()
    for file in [*SCIENCE.rglob("*.py"), SCIENCE.parent / "tasks" / "rankings.py"]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and node.value in flags():
                named[node.value] += 1
    assert named == dict.fromkeys(flags(), 1)


def test_flags_are_raised_in_order_where_their_condition_holds() -> None:
    one, other = Flag("one", "The first of the two."), Flag("other", "The second of the two.")
    assert raised({one: True, other: False}) == ("one",)
    assert raised({other: True, one: True}) == ("other", "one")


def test_every_target_task_has_measures_and_one_measure_is_the_usual_one() -> None:
    usual = [measure for measure in measures().values() if measure.usual]
    assert [measure.name for measure in usual] == ["knn"]
    assert set(usual[0].tasks) == set(target_tasks())
