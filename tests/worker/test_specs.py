"""A protocol says beside each field what the field may be."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from worker.science.specs import FieldBounds, FinetuneProtocol, Protocol, protocol_fields


@pytest.mark.parametrize("kind", [Protocol, FinetuneProtocol])
def test_every_field_has_bounds_or_choices_that_its_default_keeps(kind: type[Protocol]) -> None:
    bounds = protocol_fields(kind)
    assert {name: field.default for name, field in bounds.items()} == asdict(kind())
    for name, field in bounds.items():
        limited = (field.above, field.lowest, field.choices)
        assert any(limit is not None for limit in limited) or name == "stage", name
        if field.default is None:
            assert field.nullable, name
        elif field.choices:
            assert field.default in field.choices, name
        else:
            assert field.above is None or field.default > field.above, name
            assert field.lowest is None or field.default >= field.lowest, name
            assert field.highest is not None, name
            assert field.default <= field.highest, name


def test_some_bounds() -> None:
    bounds = protocol_fields(FinetuneProtocol)
    assert bounds["learning_rate"] == FieldBounds(1e-3, above=0, highest=1e30)
    assert bounds["crop"] == FieldBounds(None, lowest=8, highest=100_000, nullable=True)
    assert bounds["precision"].choices == ("float32", "tf32", "mixed")
    assert bounds["seed"].highest == 2**32 - 1
    assert bounds["epochs"] == FieldBounds(20, lowest=1, highest=100_000)
    assert {name for name, field in bounds.items() if field.nullable} == {
        "crop",
        "steps",
        "stage",
        "feature_width",
    }
