"""What the worker publishes is whole, and fits what the service does with it."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import service.api
from service.store import contents, published
from service.store.dict_form import read, stored
from service.store.published import CapabilityKind
from service.store.tables import Worked
from worker.main import deferred, tasks
from worker.publish import what_it_can
from worker.science.flags import flags
from worker.science.measures import ac_corr
from worker.science.specs import FinetuneProtocol, Protocol

KINDS = {kind.name: kind for kind in vars(published).values() if isinstance(kind, CapabilityKind)}


def test_everything_that_the_service_knows_of_is_published() -> None:
    assert set(what_it_can()) == set(KINDS)
    assert all(what_it_can().values())


def test_everything_published_is_json_and_read_as_it_was() -> None:
    for kind, entries in what_it_can().items():
        for name, content in entries.items():
            form = json.loads(json.dumps(stored(content), allow_nan=False))
            assert read(KINDS[kind].content, form) == content, (kind, name)


def test_the_protocol_has_the_same_fields_on_both_sides() -> None:
    for ours, theirs in ((contents.Protocol, Protocol), (contents.FinetuneProtocol, FinetuneProtocol)):
        assert {one.name for one in fields(ours)} == {one.name for one in fields(theirs)}
    bounds = what_it_can()["protocol_field"]
    assert set(bounds) == {one.name for one in fields(FinetuneProtocol)}


def test_the_default_protocols_are_within_their_bounds() -> None:
    bounds = what_it_can()["protocol_field"]
    for name, option in bounds.items():
        assert isinstance(option, published.PublishedOption)
        assert len(option.meaning.split()) >= 5, name
        if isinstance(option.default, int | float):
            assert option.lowest is None or option.default >= option.lowest, name
            assert option.highest is None or option.default <= option.highest, name
        if option.choices:
            assert option.default in option.choices, name


def test_one_measure_and_one_method_are_usual() -> None:
    for kind in ("measure", "method"):
        assert sum(content.usual for content in what_it_can()[kind].values()) == 1  # type: ignore[attr-defined]


def test_flags_say_whether_they_may_rank() -> None:
    assert flags()[ac_corr.BEYOND_PAPER.name].may_rank
    assert flags()[ac_corr.LOW_SPREAD.name].may_rank
    assert not flags()["degenerate"].may_rank
    of_lists = [flag for flag in flags().values() if flag.differs]
    known = {one.name for one in fields(contents.EvaluationFacts)}
    assert of_lists
    assert all(flag.differs in known for flag in of_lists)


def test_flags_name_the_measures_that_they_are_about() -> None:
    can = what_it_can()
    about = {name: flag.measures for name, flag in can["flag"].items()}  # type: ignore[attr-defined]
    trained = {name for name, measure in can["measure"].items() if measure.epochs}  # type: ignore[attr-defined]
    assert set(about["few_steps"]) == set(about["no_affine_norm"]) == trained
    assert set(about["mixed_widths"]) == {"ac_corr", "ac_corr_per_channel", "ac_corr_excess"}
    assert about["saturated"] is None


def test_what_takes_more_than_one_epoch_is_optional() -> None:
    measures = what_it_can()["measure"]
    for name, measure in measures.items():
        assert isinstance(measure, published.PublishedMeasure)
        assert measure.optional == (measure.epochs_per_permutation > 0), name
        assert measure.epochs in (0, 1), name
    assert measures["ac_corr_null"].optional  # type: ignore[attr-defined]


def test_the_examples_of_the_api_name_what_there_is() -> None:
    examples = json.loads((Path(str(service.api.__file__)).parent / "examples.json").read_text())
    known = what_it_can()
    for example in examples["RankingRequest"]:
        assert set(example.get("measures", ())) <= set(known["measure"])
    [ranking] = examples["RankingOut"]
    assert set(ranking["measures"]) <= set(known["measure"])
    for which, kind in (("protocol", "ranking_protocol"), ("finetune_protocol", "finetune_protocol")):
        default = {name: value for name, value in stored(known[kind]["default"]).items() if name != "version"}
        assert ranking[which] == default
    for example in (*examples["FinetuneRequest"], *examples["FinetuneOut"]):
        assert example.get("method", "ac_norm") in known["method"]
    assert {example["name"] for example in examples["OutcomeOut"]} <= set(known["metric"])
    for example in (*examples["CheckpointOut"], *examples["CheckpointRequest"]):
        assert example.get("architecture", "unet") in known["architecture"]
        assert example.get("catalogue", "lwnet_wnet_drive") in known["card"]


def test_every_task_can_be_imported() -> None:
    jobs = [mapper.class_.job for mapper in Worked.registry.mappers if issubclass(mapper.class_, Worked)]
    assert sorted(tasks()) == sorted(jobs)
    assert len(set(tasks())) == len(tasks())
    for name in tasks():
        assert callable(deferred(name))
        module, _, function = name.rpartition(".")
        assert callable(getattr(__import__(module, fromlist=[function]), function))
