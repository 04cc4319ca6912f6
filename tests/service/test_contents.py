"""Typed contents go into JSON columns and come out equal; older and newer dict forms can be read."""

from __future__ import annotations

import math
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any, get_type_hints

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import StatementError

from service.jobs import ending
from service.jobs.claims import claim
from service.settings import Settings
from service.store import answer_contents, contents, published
from service.store.contents import Card, EvaluationFacts, Inspection, Normalisation, ScoreRecord
from service.store.dict_form import VERSION, plain, read, stored
from service.store.session import reading, transaction
from service.store.tables import Checkpoint, Dataset
from tests.service.conftest import DEFAULT_FINETUNE, DEFAULT_PROTOCOL, INSPECTION, add_checkpoint, add_dataset

CONTENTS = [
    one
    for module in (answer_contents, contents, published)
    for one in vars(module).values()
    if isinstance(one, type) and is_dataclass(one) and one is not published.CapabilityKind
]


@pytest.mark.parametrize(
    "content",
    [
        DEFAULT_PROTOCOL,
        replace(DEFAULT_PROTOCOL, crop=(8, 8), steps=3),
        DEFAULT_FINETUNE,
        read(Inspection, INSPECTION),
        Card(title="x", normalisation=Normalisation("unit", (0.5,), (0.2,)), more={"DOI": "10.1/2", "n": [1]}),
        EvaluationFacts(flags=("few",), losses=(1.0, None), metrics={"a": None, "b": 0.5}),
        ScoreRecord({"N": 3, "layers": {"a.b": {"norm": "x", "k": 1.5}}, "null": (1.0, 2.0), "p": None}),
    ],
    ids=lambda content: type(content).__name__,
)
def test_what_is_stored_is_read_as_it_was(content: object) -> None:
    form = stored(content)
    assert form["version"] == VERSION
    assert read(type(content), form) == content
    assert "version" not in plain(content)


def test_numbers_that_json_lacks_and_text_that_no_database_holds_are_replaced() -> None:
    form = stored(EvaluationFacts(losses=(float("nan"), 1.0), stage="a\0\ud800", seconds=float("inf")))
    assert form["losses"] == [None, 1.0]
    assert form["seconds"] is None
    assert form["stage"] == "a??"


def test_entries_of_another_version_are_left_out_and_missing_ones_are_defaults() -> None:
    facts = read(EvaluationFacts, {"width": 8, "of_tomorrow": 1, "version": 2})
    assert facts == EvaluationFacts(width=8)


def test_a_users_own_entries_are_kept_apart_from_the_fields_of_a_card() -> None:
    own = {"DOI": "10.1/2", "version": "2.1", "more": 1, "nothing": None, "origin": "hospital B"}
    form = stored(Card(title="x", more=own))
    assert (form["title"], form["version"]) == ("x", VERSION)
    assert read(Card, form).more == own


def _numbers(kind: Any) -> list[str]:
    return [declared.name for declared in fields(kind) if get_type_hints(kind)[declared.name] is float]


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in CONTENTS for name in _numbers(kind)],
    ids=lambda one: one if isinstance(one, str) else one.__name__,
)
def test_a_number_that_could_not_be_read_again_is_not_stored(kind: Any, name: str) -> None:
    values = {
        declared.name: 0
        if declared.default is MISSING and declared.default_factory is MISSING
        else declared.default
        for declared in fields(kind)
        if declared.default_factory is MISSING
    }
    with pytest.raises(ValueError, match=name):
        stored(kind(**{**values, name: math.nan}))


def test_a_content_that_could_not_be_read_again_is_rolled_back(configured: Settings) -> None:
    with transaction() as session:
        add_dataset(session, ready=False)
    unreadable = replace(read(Inspection, INSPECTION), spacing=(math.inf, 1.0))
    with pytest.raises(StatementError, match="spacing"), transaction() as session:
        session.query(Dataset).one().inspection = unreadable
    with reading() as session:
        assert session.query(Dataset).one().inspection is None


def test_the_sweep_goes_on_beside_a_content_that_can_not_be_read(configured: Settings) -> None:
    with transaction() as session:
        for name in ("broken", "whole"):
            row = add_dataset(session, name, ready=False)
            assert claim(session, Dataset, row.id, worker="w")
        late = update(Dataset).values(lease_until=0.0)
        session.execute(late)
        session.execute(text("UPDATE datasets SET inspection = '{}' WHERE name = 'broken'"))
    with transaction() as session:
        ending.sweep(session)
    with reading() as session:
        assert session.scalars(select(Dataset.state)).all() == ["queued", "queued"]


def test_a_column_refuses_what_is_not_its_content(configured: Settings) -> None:
    with pytest.raises(StatementError, match="holds a Inspection, not a dict"), transaction() as session:
        add_dataset(session).inspection = {"images": 3}  # type: ignore[assignment]


def test_columns_hold_the_dict_form_with_its_version(configured: Settings) -> None:
    with transaction() as session:
        add_dataset(session).inspection = read(Inspection, INSPECTION)
        add_checkpoint(session, "a")
        session.flush()
        assert session.scalar(text("SELECT count(*) FROM datasets WHERE inspection IS NOT NULL")) == 1
    with reading() as session:
        assert session.query(Dataset).one().inspection == read(Inspection, INSPECTION)
        assert session.query(Checkpoint).one().card.modality == "fundus"


@pytest.mark.parametrize("kind", CONTENTS, ids=lambda kind: kind.__name__)
def test_every_field_of_a_content_is_described(kind: Any) -> None:
    missing = [one.name for one in fields(kind) if len(one.metadata.get("description", "").split()) < 5]
    assert missing == []
