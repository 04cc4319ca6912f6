"""The OpenAPI document is stable and complete."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from service.api.app import create_app
from service.api.checkpoints.schemas import CheckpointOut, CheckpointRequest
from service.api.datasets.schemas import DatasetOut, DatasetRequest
from service.api.finetune_runs.schemas import FinetuneOut, FinetuneRequest
from service.api.rankings.schemas import CostOut, RankingOut, RankingRequest, RankingSummary
from tests.service.conftest import PROTOCOL

OPERATIONS = {
    "cancel_finetune_run": "POST /v1/finetune-runs/{run_id}/cancel",
    "cancel_ranking": "POST /v1/rankings/{ranking_id}/cancel",
    "check_health": "GET /healthz",
    "check_readiness": "GET /readyz",
    "estimate_cost": "POST /v1/rankings/cost",
    "list_answers": "GET /v1/rankings/{ranking_id}/answers",
    "list_architectures": "GET /v1/architectures",
    "list_catalogue": "GET /v1/catalogue",
    "list_checkpoints": "GET /v1/checkpoints",
    "list_datasets": "GET /v1/datasets",
    "list_finetune_runs": "GET /v1/finetune-runs",
    "list_measures": "GET /v1/measures",
    "list_methods": "GET /v1/methods",
    "list_protocols": "GET /v1/protocols",
    "list_rankings": "GET /v1/rankings",
    "import_outcomes": "POST /v1/outcomes",
    "list_outcomes": "GET /v1/outcomes",
    "remove_outcomes": "DELETE /v1/outcomes",
    "exclude_outcome": "PATCH /v1/outcomes/{outcome_id}",
    "list_flags": "GET /v1/flags",
    "list_metrics": "GET /v1/metrics",
    "list_recipes": "GET /v1/recipes",
    "list_target_tasks": "GET /v1/target-tasks",
    "list_readers": "GET /v1/readers",
    "read_agreement": "GET /v1/agreement",
    "read_checkpoint": "GET /v1/checkpoints/{reference}",
    "read_dataset": "GET /v1/datasets/{reference}",
    "read_finetune_run": "GET /v1/finetune-runs/{run_id}",
    "read_network": "GET /v1/finetune-runs/{run_id}/network",
    "read_ranking": "GET /v1/rankings/{ranking_id}",
    "register_checkpoint": "POST /v1/checkpoints",
    "register_dataset": "POST /v1/datasets",
    "renew_answer": "POST /v1/rankings/{ranking_id}/answers",
    "request_finetune_run": "POST /v1/finetune-runs",
    "request_ranking": "POST /v1/rankings",
    "change_dataset": "PATCH /v1/datasets/{reference}",
    "remove_dataset": "DELETE /v1/datasets/{reference}",
    "retry_dataset": "POST /v1/datasets/{reference}/retry",
    "change_checkpoint": "PATCH /v1/checkpoints/{reference}",
    "remove_checkpoint": "DELETE /v1/checkpoints/{reference}",
    "retry_checkpoint": "POST /v1/checkpoints/{reference}/retry",
    "change_ranking": "PATCH /v1/rankings/{ranking_id}",
    "change_finetune_run": "PATCH /v1/finetune-runs/{run_id}",
    "remove_ranking": "DELETE /v1/rankings/{ranking_id}",
    "retry_ranking": "POST /v1/rankings/{ranking_id}/retry",
    "remove_finetune_run": "DELETE /v1/finetune-runs/{run_id}",
    "retry_finetune_run": "POST /v1/finetune-runs/{run_id}/retry",
}

MAKE_NOTHING = {"/v1/rankings/cost"}  # so a repeat needs no key


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app().openapi()


def _operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_operation_ids_are_stable(document: dict[str, Any]) -> None:
    found = [(one["operationId"], f"{method} {path}") for method, path, one in _operations(document)]
    assert len(found) == len(OPERATIONS)
    assert dict(found) == OPERATIONS


def test_every_operation_is_described_and_tagged(document: dict[str, Any]) -> None:
    for method, path, one in _operations(document):
        assert one["description"], (method, path)
        assert one["tags"], (method, path)


def test_every_post_documents_the_key_and_the_problems(document: dict[str, Any]) -> None:
    posts = [(path, one) for method, path, one in _operations(document) if method == "POST"]
    assert len(posts) == 13
    for path, one in posts:
        headers = {entry["name"].lower(): entry for entry in one.get("parameters", []) if entry["in"] == "header"}
        if path in MAKE_NOTHING:
            assert headers == {}, path
        else:
            assert headers["idempotency-key"]["description"], path
        assert {"400", "409", "413", "422", "503"} <= set(one["responses"]), path


def test_every_error_is_documented_as_a_problem(document: dict[str, Any]) -> None:
    reference = {"schema": {"$ref": "#/components/schemas/Problem"}}
    for method, path, one in _operations(document):
        for status, answer in one["responses"].items():
            if int(status) >= 400:
                assert answer["content"] == {"application/problem+json": reference}, (method, path, status)
    assert {"Problem", "Fault"} <= set(document["components"]["schemas"])
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_every_body_has_an_example(document: dict[str, Any]) -> None:
    for _, path, one in _operations(document):
        if "requestBody" in one:
            schema = one["requestBody"]["content"]["application/json"]["schema"]
            name = schema["$ref"].rsplit("/", 1)[1]
            assert document["components"]["schemas"][name]["examples"], path


SHORTEST = 5  # words
PARTICLES = ("That", "Of", "With", "As", "So", "By")  # a description that opens with one is no sentence


def _descriptions(document: dict[str, Any]) -> dict[str, str]:
    """Every description of the document by its place."""
    found = {f"{method} {path}": one["description"] for method, path, one in _operations(document)}
    for name, schema in document["components"]["schemas"].items():
        if "description" in schema:
            found[name] = schema["description"]
        found |= {f"{name}.{key}": one.get("description", "") for key, one in schema.get("properties", {}).items()}
    for method, path, one in _operations(document):
        for entry in one.get("parameters", []):
            found[f"{method} {path} {entry['name']}"] = entry.get("description", "")
    return found


def test_every_description_is_a_sentence_of_five_words_or_more(document: dict[str, Any]) -> None:
    descriptions = _descriptions(document)
    assert len(descriptions) > 400
    short = {place: text for place, text in descriptions.items() if len(text.split()) < SHORTEST}
    assert short == {}
    broken = {place: text for place, text in descriptions.items() if text.split()[0] in PARTICLES}
    assert broken == {}


def test_no_object_is_free_of_form_but_a_users_own(document: dict[str, Any]) -> None:
    free: list[str] = []

    def walk(place: str, value: Any) -> None:
        if isinstance(value, list):
            for number, one in enumerate(value):
                walk(f"{place}.{number}", one)
        elif isinstance(value, dict):
            shapeless = value.get("type") == "object" and "properties" not in value
            if value.get("additionalProperties") is True or (shapeless and "additionalProperties" not in value):
                free.append(place)
            for key, one in value.items():
                walk(f"{place}.{key}", one)

    schemas = {
        name: {key: value for key, value in schema.items() if key != "examples"}
        for name, schema in document["components"]["schemas"].items()
    }
    walk("", schemas)
    assert free == [".CardChange", ".CheckpointCard"]


ANSWERS: list[type[BaseModel]] = [DatasetOut, CheckpointOut, RankingOut, RankingSummary, CostOut, FinetuneOut]
REQUESTS: list[type[BaseModel]] = [DatasetRequest, CheckpointRequest, RankingRequest, FinetuneRequest]


def _examples(document: dict[str, Any], model: type[BaseModel]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document["components"]["schemas"][model.__name__]["examples"]
    assert found
    return found


@pytest.mark.parametrize("model", ANSWERS)
def test_the_examples_of_answers_are_whole(document: dict[str, Any], model: type[BaseModel]) -> None:
    for example in _examples(document, model):
        assert model.model_validate(example).model_dump(mode="json") == example


@pytest.mark.parametrize("model", REQUESTS)
def test_the_examples_of_requests_are_taken(document: dict[str, Any], model: type[BaseModel]) -> None:
    for example in _examples(document, model):
        assert model.model_validate(example).model_dump(mode="json", exclude_unset=True) == example


def test_the_examples_show_the_workers_own_protocol(document: dict[str, Any]) -> None:
    [shown] = _examples(document, RankingOut)
    assert shown["protocol"].keys() == PROTOCOL.keys()
    assert shown["finetune_protocol"].keys() == {*PROTOCOL, "epochs", "patience"}
