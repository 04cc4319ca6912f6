"""The pages, as text and in a real browser."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Error, Page, ViewportSize, expect, sync_playwright
from sqlalchemy import event

from service.jobs import ending, requests
from service.jobs.claims import claim, renew
from service.jobs.scores import record_score
from service.store import capabilities, outcomes
from service.store.contents import Inspection, Preflight
from service.store.dict_form import read
from service.store.session import engine, transaction
from service.store.tables import Evaluation, FinetuneRun, LedgerRow, Ranking
from tests.conftest import TestClient
from tests.service.conftest import (
    DEFAULT_FINETUNE,
    INSPECTION,
    add_checkpoint,
    add_dataset,
    add_ranking,
    evaluate,
    evaluations,
    fail,
    finish_run,
    score_of,
)

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]
WINDOW: ViewportSize = {"width": 1300, "height": 900}
NARROW = 400  # pixels


def finished_ranking() -> Ranking:
    """A ranking with one of everything."""
    with transaction() as session:
        names = ["near", "far <b>", "other", "random", "broken"]
        ranking = add_ranking(session, names, measures=["one_epoch_outcome", "logme", "ac_corr"])
        rows = evaluations(session, ranking)
    for number, name in enumerate(names[:3]):
        losses = [1.0 / (step * (3 - number) * 0.1 + 1) for step in range(30)]
        facts: dict[str, Any] = {
            "flags": ["few_steps"],
            "width": [32, 64, 32][number],
            "seconds": 12.25,
            "finetune_epoch_seconds": 9.0,
            "losses": losses,
        }
        own = score_of(0.9 - number * 0.3)
        logme = score_of(-0.1 * number, "saturated", measure="logme")
        ac_corr = score_of(5.0 + number, measure="ac_corr")
        evaluate(rows[name].id, own, logme, ac_corr, facts=facts)
    evaluate(rows["random"].id, score_of(0.99, "degenerate"))
    fail(rows["broken"].id, "a pickle that would run code")
    return ranking


def test_the_overview_lists_rankings_datasets_and_zoo(client: TestClient) -> None:
    ranking = finished_ranking()
    page = client.get("/").text
    for expected in (ranking.id, "discs", "near", "far &lt;b&gt;", "4 done", "1 failed"):
        assert expected in page
    assert "<b>" not in page.replace("<b>one_epoch", "")


def test_an_empty_service_says_how_to_begin(sqlite_client: TestClient) -> None:
    page = sqlite_client.get("/").text
    assert "zoorank rank" in page
    assert "No worker has started" not in page
    with transaction() as session:
        capabilities.publish(session, {"measure": {}})
    assert "No worker has started" in sqlite_client.get("/").text


def test_a_finished_ranking(client: TestClient) -> None:
    ranking = finished_ranking()
    page = client.get(f"/rankings/{ranking.id}").text
    order = [page.index(f">{name}</a>") for name in ("near", "far &lt;b&gt;", "other", "random", "broken")]
    assert order == sorted(order)
    for expected in (
        "no history yet",
        "different widths",
        "a pickle that would run code",
        "saturated",
        "degenerate",
        "#3",
        "15 min",
        "learning_rate",
        "<polyline",
    ):
        assert expected in page
    assert "<summary>record</summary>" in page
    assert "live.js" not in page


@contextmanager
def _statements() -> Iterator[list[str]]:
    """Every statement that is executed meanwhile."""
    executed: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        executed.append(" ".join(statement.split()))

    event.listen(engine(), "before_cursor_execute", note)
    try:
        yield executed
    finally:
        event.remove(engine(), "before_cursor_execute", note)


def test_the_page_of_an_ended_ranking_computes_its_list_once(client: TestClient) -> None:
    ranking = finished_ranking()
    with _statements() as of_the_api:
        assert client.get(f"/v1/rankings/{ranking.id}?records=true").json()["state"] == "done"
    with _statements() as of_the_page:
        assert "<summary>record</summary>" in client.get(f"/rankings/{ranking.id}").text
    scores = "FROM scores JOIN evaluations ON evaluations.id = scores.evaluation_id WHERE"
    for query in (scores, "FROM evaluations JOIN checkpoints"):
        assert sum(query in statement for statement in of_the_api) == 1, query
        assert sum(query in statement for statement in of_the_page) == 1, query
    counting_states = [statement for statement in of_the_page if "GROUP BY evaluations.ranking_id" in statement]
    assert len(counting_states) == 1
    assert sorted(of_the_page) == sorted([*of_the_api, *counting_states])


def test_a_running_ranking_refreshes_with_and_without_javascript(client: TestClient) -> None:
    with transaction() as session:
        ranking = add_ranking(session, ["a"])
        held = claim(session, Evaluation, evaluations(session, ranking)["a"].id, worker="w")
        assert held is not None
        renew(session, held, stage="one epoch", done=3, total=12)
    page = client.get(f"/rankings/{ranking.id}").text
    assert '<progress max="12" value="3">' in page
    assert "live.js" in page
    assert '<noscript><meta http-equiv="refresh"' in page
    with transaction() as session:
        record_score(session, held, score_of(0.5))
        other = add_ranking(session, ["b", "c"], dataset_id=ranking.dataset_id)
        rows = evaluations(session, other)
    evaluate(rows["b"].id, score_of(0.5))
    page = client.get(f"/rankings/{other.id}").text
    assert "Every measure" in page
    assert "<summary>record</summary>" not in page


def test_datasets_checkpoints_and_runs_have_pages(client: TestClient) -> None:
    with transaction() as session:
        dataset = add_dataset(session, ready=False)
        held = claim(session, type(dataset), dataset.id, worker="w")
        assert held is not None
        inspection = {**INSPECTION, "images": 42, "classes": [{"label": 0, "count": 40, "share": 1.0}]}
        ending.complete(session, held, state="done", fingerprint="print", inspection=read(Inspection, inspection))
        row = add_checkpoint(session, "a", ready=False)
        held = claim(session, type(row), row.id, worker="w")
        assert held is not None
        left = [{"key": "head.weight", "reason": "another class count"}]
        preflight = {"tensors": 9, "loaded": 8, "percent_loaded": 100.0, "reinitialised": left}
        ending.complete(session, held, state="done", sha256="5" * 64, preflight=read(Preflight, preflight))
        own = {
            "dataset_id": dataset.id,
            "checkpoint_id": row.id,
            "method": "ac_norm",
            "protocol": DEFAULT_FINETUNE,
        }
        run = FinetuneRun(**own)
        requests.add(session, run)
    finish_run(run, {"metrics": {"test": {"dice": 0.8125}}, "best_epoch": 7, "network_file": "x"})
    assert "42" in client.get("/datasets/discs").text
    assert "another class count" in client.get("/checkpoints/a").text
    page = client.get(f"/finetune-runs/{run.id}").text
    assert "0.8125" in page
    assert f'href="/v1/finetune-runs/{run.id}/network"' in page
    assert run.id in client.get("/").text


def test_an_error_is_a_page_for_a_browser(sqlite_client: TestClient) -> None:
    answer = sqlite_client.get("/rankings/<b>", headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "There is no such thing" in answer.text
    assert "<b>" not in answer.text


def test_no_page_needs_anything_from_elsewhere(sqlite_client: TestClient) -> None:
    ranking = finished_ranking()
    for path in ("/", "/docs", f"/rankings/{ranking.id}", "/datasets/discs", "/checkpoints/near"):
        page = sqlite_client.get(path).text
        for attribute in ('src="http', 'src="//', "<style", ' style="', "<script>"):
            assert attribute not in page, path
        assert 'href="http' not in page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser on PATH, else Playwright's own."""
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        try:
            own = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        except Error:
            if "CI" in os.environ:
                raise
            pytest.skip("no browser: `make browser` installs one")
        yield own
        own.close()


@pytest.fixture
def address(sqlite_client: TestClient) -> Iterator[str]:
    """A served API on the prepared database."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "service.api.app:create_app", "--factory", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                httpx.get(f"{url}/healthz")
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def tab(browser: Browser) -> Iterator[tuple[Page, list[str]]]:
    """A tab, and everything that went wrong in it."""
    page = browser.new_page(viewport=WINDOW)
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    yield page, wrong
    page.close()


def _fits(page: Page) -> bool:
    """Whether the open page is no wider than a window of NARROW pixels."""
    page.set_viewport_size({**WINDOW, "width": NARROW})
    width = int(page.evaluate("document.documentElement.scrollWidth"))
    page.set_viewport_size(WINDOW)
    return width <= NARROW


def _picture(page: Page, name: str) -> None:
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def test_a_visitor_reads_a_finished_ranking(address: str, tab: tuple[Page, list[str]]) -> None:
    page, wrong = tab
    ranking = finished_ranking()
    page.goto(address)
    _picture(page, "overview")
    assert _fits(page)
    page.get_by_role("link", name=ranking.id).click()
    expect(page.get_by_role("heading", name="Ranked list")).to_be_visible()
    rows = page.locator("table.ranked").first.locator("tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("near")
    expect(rows.first.locator("td.position")).to_have_text("1")
    bars = [row.locator("rect.bar").bounding_box() for row in rows.all()]
    widths = [box["width"] for box in bars if box]
    assert len(widths) == 3
    assert widths[0] > widths[1] > widths[2] > 0
    expect(page.get_by_text("no history yet").first).to_be_visible()
    expect(page.get_by_text("a pickle that would run code")).to_be_visible()
    page.locator("details").first.locator("summary").click()
    expect(page.locator("details").first.locator("dd")).to_be_visible()
    _picture(page, "ranking")
    assert _fits(page)
    page.get_by_role("link", name="near", exact=True).first.click()
    expect(page.get_by_role("heading", name="near")).to_be_visible()
    _picture(page, "checkpoint")
    assert _fits(page)
    page.get_by_role("link", name="API").click()
    expect(page.get_by_text("Idempotency-Key").first).to_be_visible()
    _picture(page, "docs")
    assert _fits(page)
    assert wrong == []


def test_no_page_is_wider_than_a_narrow_window(address: str, tab: tuple[Page, list[str]]) -> None:
    page, _ = tab
    finished_ranking()
    source = "a study with a long title, whose outcomes were read off a figure, " * 2
    with transaction() as session:
        group = {"source": source, "comparison_group": source, "higher_is_better": True, "task": "segmentation"}
        rows = [
            LedgerRow(kind="outcome", target="cups", candidate=c, name="dice", value=0.5, **group) for c in "ab"
        ]
        outcomes.add(session, rows)
    for path in ("/datasets/discs", "/checkpoints/near", "/agreement", "/docs", "/rankings/none"):
        page.goto(f"{address}{path}")
        assert _fits(page), path


def test_a_visitor_watches_a_ranking_end(address: str, tab: tuple[Page, list[str]]) -> None:
    page, wrong = tab
    with transaction() as session:
        ranking = add_ranking(session, ["a", "b"])
        rows = evaluations(session, ranking)
        held = claim(session, Evaluation, rows["a"].id, worker="w")
        assert held is not None
        renew(session, held, stage="one epoch", done=3, total=12)
    page.goto(f"{address}/rankings/{ranking.id}")
    expect(page.locator("progress")).to_have_attribute("value", "3")
    _picture(page, "running")
    assert _fits(page)
    with transaction() as session:
        renew(session, held, stage="one epoch", done=9, total=12)
    expect(page.locator("progress")).to_have_attribute("value", "9")
    evaluate(rows["b"].id, score_of(0.5))
    expect(page.locator("table.ranked td.position")).to_have_text(["1"])
    with transaction() as session:
        ending.complete(session, held, state="failed", reason="out of memory")
    expect(page.get_by_role("heading", name="Under way")).to_have_count(0)
    expect(page.locator("h1 .state")).to_have_text("done")
    expect(page.get_by_text("out of memory")).to_be_visible()
    assert wrong == []
