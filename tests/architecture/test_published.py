"""What the worker publishes fits what the service lets a request override."""

from __future__ import annotations

import json
from dataclasses import fields

from service.api.rankings.ranked_list import _MEANINGS
from service.ledger.soundness import UNSOUND

from service.api.capabilities.published import FinetuneOverrides, ProtocolOverrides
from worker.main import TASKS, deferred
from worker.publish import what_it_can
from worker.science.flags import flags
from worker.science.measures import ac_corr
from worker.science.specs import FinetuneProtocol, Protocol


def test_a_request_can_override_every_field_of_the_protocol_and_no_other() -> None:
    assert set(ProtocolOverrides.model_fields) == {field.name for field in fields(Protocol)}
    assert set(FinetuneOverrides.model_fields) == {field.name for field in fields(FinetuneProtocol)}


def test_the_defaults_are_valid_overrides() -> None:
    published = what_it_can()["protocol"]
    ProtocolOverrides.model_validate(published["ranking"])
    FinetuneOverrides.model_validate(published["finetune"])


def test_everything_published_is_json() -> None:
    published = what_it_can()
    assert {"measure", "architecture", "card", "method", "reader", "protocol"} == set(published)
    json.dumps(published, allow_nan=False)


def test_the_default_order_is_published_and_the_flags_mean_the_same() -> None:
    assert "one_epoch_outcome" in what_it_can()["measure"]
    assert {name for name, flag in flags().items() if not flag.may_rank} == UNSOUND


def test_flags_that_may_rank_are_explained_beside_the_list() -> None:
    ranked = {ac_corr.BEYOND_PAPER.name, ac_corr.LOW_SPREAD.name}
    assert ranked <= set(_MEANINGS)
    assert ranked.isdisjoint(UNSOUND)


def test_what_takes_more_than_one_epoch_is_optional() -> None:
    for name, body in what_it_can()["measure"].items():
        assert body["optional"] == (body["epochs_per_permutation"] > 0), name
        assert body["epochs"] in (0, 1), name
    assert what_it_can()["measure"]["ac_corr_null"]["optional"]
    assert "null_permutations" in what_it_can()["protocol"]["ranking"]


def test_every_task_can_be_imported() -> None:
    for target in TASKS.values():
        assert callable(deferred(target))
        module, function = target.split(":")
        assert callable(getattr(__import__(module, fromlist=[function]), function))
