"""What the workers published is listed as it is."""

from __future__ import annotations

import pytest

from tests.conftest import TestClient
from tests.service.conftest import CAPABILITIES


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("measures", "measure"),
        ("architectures", "architecture"),
        ("methods", "method"),
        ("catalogue", "card"),
        ("protocols", "protocol"),
        ("readers", "reader"),
    ],
)
def test_capabilities_are_listed(client: TestClient, path: str, kind: str) -> None:
    assert client.get(f"/v1/{path}").json() == {"items": CAPABILITIES[kind]}
