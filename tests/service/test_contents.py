"""Typed contents go into JSON columns and come out equal; older and newer dict forms can be read."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import StatementError

from service.settings import Settings
from service.store import contents, published
from service.store.contents import Card, EvaluationFacts, Inspection, Normalisation, ScoreRecord
from service.store.dict_form import VERSION, plain, read, stored
from service.store.session import reading, transaction
from service.store.tables import Checkpoint, Dataset
from tests.service.conftest import DEFAULT_FINETUNE, DEFAULT_PROTOCOL, INSPECTION, add_checkpoint, add_dataset

CONTENTS = [
    one
    for module in (contents, published)
    for one in vars(module).values()
    if isinstance(one, type) and is_dataclass(one) and hasattr(one, "__rest__")
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


def test_a_users_own_entries_stand_beside_the_fields_of_a_card() -> None:
    form = stored(Card(title="x", more={"DOI": "10.1/2"}))
    assert (form["title"], form["DOI"]) == ("x", "10.1/2")
    assert "more" not in form


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
