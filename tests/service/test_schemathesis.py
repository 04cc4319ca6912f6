"""Requests that schemathesis makes from the OpenAPI document: every answer is one that the document names.

Each operation gets requests that keep to the document and requests that break it, about rows that are there and
rows that are not. An answer of 500 or above, an undocumented status or content type, a body that breaks its
schema, and a broken request that is granted are failures.
"""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, openapi
from schemathesis.core.failures import FailureGroup
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import positive_data_acceptance

from service.settings import Settings
from service.store.session import transaction
from tests.conftest import TestClient
from tests.service.conftest import (
    add_ranking,
    checkpoint_body,
    dataset_body,
    evaluate,
    evaluations,
    score_of,
)

EXAMPLES = 10  # requests of each operation
OUTCOME = {
    "target": "ct",
    "task": "segmentation",
    "candidate": "a",
    "kind": "outcome",
    "name": "dice",
    "value": 0.5,
    "higher_is_better": True,
}
MAY_BE_REFUSED = {  # since nothing here has failed, no network was trained, and what is there is needed
    "retry_checkpoint",
    "retry_dataset",
    "retry_ranking",
    "read_network",
    "remove_checkpoint",
    "remove_dataset",
    "remove_finetune_run",
}
# What a document can't say, such as that a file is there, is refused also in a request that keeps to it.
NOT_CHECKED = [positive_data_acceptance]
briefly = hypothesis.settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def bodies(configured: Settings) -> dict[str, dict[str, Any]]:
    """Requests that are granted, by the operation's id."""
    return {
        "register_dataset": dataset_body(configured, "lesions"),
        "register_checkpoint": checkpoint_body(configured),
        "request_ranking": {"dataset": "discs", "candidates": ["a", "b"]},
        "estimate_cost": {"dataset": "discs", "candidates": ["a", "b"]},
        "request_finetune_run": {"dataset": "discs", "checkpoint": "a"},
        "change_dataset": {"modality": "CT"},
        "import_outcomes": {"source": "paper", "rows": [OUTCOME]},
    }


@pytest.fixture
def places(client: TestClient, bodies: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """Rows that are there, by the name of the parameter that means them."""
    with transaction() as session:
        ranking = add_ranking(session, ["a", "b"])
        rows = evaluations(session, ranking)
    for number, row in enumerate(rows.values()):
        evaluate(row.id, score_of(0.5 + number / 10), score_of(-1.0, measure="logme"))
    run = client.post("/v1/finetune-runs", json=bodies["request_finetune_run"]).json()["id"]
    other = client.post("/v1/rankings", json=bodies["request_ranking"]).json()["id"]
    client.post("/v1/outcomes", json=bodies["import_outcomes"])
    [outcome] = client.get("/v1/outcomes").json()["items"]
    return {
        "ranking_id": [ranking.id, other],
        "run_id": [run],
        "outcome_id": [outcome["id"]],
        "reference": ["discs", "a"],
    }


def requests_of(
    operation: APIOperation, places: dict[str, list[str]], body: dict[str, Any] | None
) -> st.SearchStrategy[Case]:
    """Requests of this operation: of any kind, about a row that is there, with a body that is granted."""
    fixed: list[dict[str, Any]] = [{}]
    for parameter in operation.path_parameters:
        fixed = [{"path_parameters": {parameter.name: place}} for place in places[parameter.name]]
    if body is not None:
        fixed += [{**part, "body": body} for part in fixed]
    return st.one_of(
        operation.as_strategy(),
        *[operation.as_strategy(generation_mode=mode, **part) for part in fixed for mode in GenerationMode],
    )


def answers_to(requests: st.SearchStrategy[Case]) -> tuple[list[int], list[str]]:
    """The statuses of the answers to some of these requests, and what is wrong with the answers."""
    statuses: list[int] = []
    wrong: list[str] = []

    @briefly
    @given(requests)
    def ask(case: Case) -> None:
        answer = case.call("http://127.0.0.1")
        statuses.append(answer.status_code)
        try:
            case.validate_response(answer, excluded_checks=NOT_CHECKED)
        except FailureGroup as failures:
            wrong.append(str(failures))

    ask()
    return statuses, wrong


def test_every_answer_is_one_that_the_document_names(
    client: TestClient, places: dict[str, list[str]], bodies: dict[str, dict[str, Any]]
) -> None:
    schema = openapi.from_asgi("/openapi.json", client.app, headers={"Host": "127.0.0.1"})
    found = [one.ok() for one in schema.get_all_operations()]
    granted, wrong = set(), []
    for operation in sorted(found, key=lambda one: one.method == "delete"):
        name = operation.definition.raw["operationId"]
        statuses, faults = answers_to(requests_of(operation, places, bodies.get(name)))
        wrong += faults
        if min(statuses) < 400:
            granted.add(name)
    assert not wrong, "\n\n".join(wrong)
    assert {one.definition.raw["operationId"] for one in found} - granted <= MAY_BE_REFUSED
