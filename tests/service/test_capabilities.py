"""What the workers published is listed as it is."""

from __future__ import annotations

import pytest

from service.api.app import create_app
from service.ledger.flags import OWN
from service.settings import Settings
from service.store import published
from service.store.dict_form import plain, read
from service.store.published import CapabilityKind
from tests.conftest import TestClient
from tests.service.conftest import CAPABILITIES, PROTOCOL

KINDS = {kind.name: kind for kind in vars(published).values() if isinstance(kind, CapabilityKind)}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("measures", "measure"),
        ("architectures", "architecture"),
        ("methods", "method"),
        ("catalogue", "card"),
        ("readers", "reader"),
        ("target-tasks", "target_task"),
        ("flags", "flag"),
    ],
)
def test_capabilities_are_listed(client: TestClient, path: str, kind: str) -> None:
    shown = client.get(f"/v1/{path}").json()["items"]
    assert shown.keys() - OWN == CAPABILITIES[kind].keys()  # the service has flags of its own
    for name, body in CAPABILITIES[kind].items():
        described = KINDS[kind].content
        assert shown[name] == plain(read(described, body))
        assert {key: shown[name][key] for key in body} == body


def test_the_default_protocols_are_listed_with_the_bounds_of_their_fields(client: TestClient) -> None:
    shown = client.get("/v1/protocols").json()
    assert shown["items"] == {
        "ranking": PROTOCOL,
        "finetune": CAPABILITIES["finetune_protocol"]["default"],
    }
    assert shown["fields"]["batch_size"]["lowest"] == 2
    assert shown["fields"]["steps"]["nullable"]


def test_before_any_worker_nothing_is_listed(configured: Settings) -> None:
    with TestClient(create_app()) as own:
        assert own.get("/v1/measures").json() == {"items": {}}
        assert own.get("/v1/protocols").json() == {"items": {"ranking": None, "finetune": None}, "fields": {}}
