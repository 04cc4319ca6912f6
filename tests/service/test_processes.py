"""The processes as they run: the API alone, the supervisor, the command line against a served API."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from service.client.http import ProblemError, UnreachableError, ZooRank
from service.client.terminal.commands import app as command_line
from service.jobs import requests
from service.ledger.ranked_list import rank
from service.settings import Settings
from service.store import rankings
from service.store.contents import Inspection
from service.store.dict_form import read
from service.store.session import reading, transaction
from service.store.tables import FinetuneRun
from service.supervisor import data_lock, listening, serve
from service.supervisor.child import Child
from tests.service.conftest import (
    DEFAULT_FINETUNE,
    INSPECTION,
    add_checkpoint,
    add_dataset,
    evaluate,
    fail,
    publish,
    score_of,
)

ZOORANK = [sys.executable, "-c", "from service.client.terminal.commands import main; main()"]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _await(url: str, process: subprocess.Popen[Any], seconds: float = 30) -> float:
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        assert process.poll() is None, "the process ended"
        try:
            if httpx.get(f"{url}/healthz").status_code == 200:
                return time.monotonic() - start
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the API did not start")


@pytest.fixture
def api(configure: Callable[..., Settings], sqlite_url: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The API in a process of its own, as the supervisor starts it; its address and the process."""
    configure(database_url=sqlite_url)
    with transaction() as session:
        publish(session)
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "service.api.app:create_app", "--factory", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait(20)


def _megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1000


def test_the_api_is_up_soon_and_small(api: tuple[str, subprocess.Popen[bytes]]) -> None:
    url, process = api
    took = _await(url, process)
    assert took < 8  # 2 s on an idle machine; the machine that tests may be busy
    for path in ("/", "/docs", "/openapi.json", "/readyz", "/v1/rankings"):
        assert httpx.get(f"{url}{path}").status_code == 200
    assert _megabytes(process.pid) < 150


def test_the_api_imports_no_science() -> None:
    probe = (
        "import sys; from service.api.app import create_app; create_app().openapi();"
        "import service.client.terminal.commands;"
        "print(sorted({'torch', 'monai', 'scipy', 'sklearn', 'worker', 'models_zoo'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def _worker(names: list[str], broken: str) -> None:
    """Score all candidates of the one ranking as soon as it is there."""
    for _ in range(200):
        with reading() as session:
            found = rankings.listed(session, after=None, limit=1)
            rows = rank(session, found[0]).candidates if found else []
        if rows:
            break
        time.sleep(0.05)
    for row in rows:
        if row.checkpoint.name == broken:
            fail(row.evaluation.id, "a truncated file")
        else:
            value = float(names.index(row.checkpoint.name))
            facts = {"flags": ["few_steps"], "width": 8, "seconds": 1.25, "finetune_epoch_seconds": 3.0}
            evaluate(row.evaluation.id, score_of(value), facts=facts)


def test_rank_prints_the_list(api: tuple[str, subprocess.Popen[bytes]]) -> None:
    url, process = api
    _await(url, process)
    with transaction() as session:
        add_dataset(session)
        for name in ("low", "high", "broken"):
            add_checkpoint(session, name)
    command = [*ZOORANK, "rank", "discs", "low", "high", "broken", "--url", url]
    environment = {**os.environ, "COLUMNS": "160"}
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    _worker(["low", "high"], "broken")
    printed, _ = run.communicate(timeout=30)
    assert run.returncode == 0
    assert printed.index("high") < printed.index("low") < printed.index("broken")
    assert "a truncated file" in printed
    assert "no history yet" in printed
    assert "about 5 minutes" in printed
    assert f"{url}/rankings/rk_" in printed


def test_rank_prints_json_alone(api: tuple[str, subprocess.Popen[bytes]]) -> None:
    url, process = api
    _await(url, process)
    with transaction() as session:
        add_dataset(session)
        add_checkpoint(session, "only")
    options = ["--json", "--records", "--measure", "logme", "--order-by", "logme", "--finetune-top", "1"]
    options += ["--tolerance", "0.05", "--risk", "0.1"]
    command = [*ZOORANK, "rank", "discs", "only", "--url", url, *options]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    _worker(["only"], "")
    ranking = json.loads(run.communicate(timeout=30)[0])
    assert (ranking["state"], ranking["measures"], ranking["finetune_top"]) == ("done", ["logme"], 1)
    assert (ranking["tolerance"], ranking["risk"]) == (0.05, 0.1)
    assert ranking["ranked"][0]["scores"]["one_epoch_outcome"]["record"] == {"N": 9}


def test_rank_fails_with_field_and_remedy(api: tuple[str, subprocess.Popen[bytes]]) -> None:
    url, process = api
    _await(url, process)
    run = subprocess.run([*ZOORANK, "rank", "discs", "x", "--url", url], capture_output=True, text=True)
    assert run.returncode == 1
    assert "dataset: there is no dataset 'discs'" in run.stderr
    assert "POST /v1/datasets" in run.stderr.replace("\n", " ")
    assert run.stdout == ""
    with ZooRank(url) as zoo, pytest.raises(ProblemError) as caught:
        zoo.rank("discs", ["x"])
    assert caught.value.errors[0]["field"] == "dataset"
    assert caught.value.status == 422


def _at_a_terminal(command: list[str], answer: str) -> subprocess.Popen[str]:
    """Run it at a terminal of its own, where this is typed; what it prints goes into pipes."""
    ours, its = pty.openpty()
    os.write(ours, answer.encode())
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, stdin=its, **pipes)
    os.close(its)
    return process


def test_rank_asks_before_it_takes_more_than_one_epoch_a_candidate(
    api: tuple[str, subprocess.Popen[bytes]],
) -> None:
    url, process = api
    _await(url, process)
    with transaction() as session:
        inspected = {**INSPECTION, "splits": {"train": 16}}
        add_dataset(session).inspection = read(Inspection, inspected)
        add_checkpoint(session, "only")
    options = ["--measure", "one_epoch_outcome", "--measure", "ac_corr_null", "--permutations", "4"]
    command = [*ZOORANK, "rank", "discs", "only", "--url", url, *options]
    cost = "1 candidate, 5 training epochs each, 4 on permuted labels: 5 epochs, 10 steps in all."
    for refused in (command, [*command, "--json"]):
        run = subprocess.run(refused, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert (run.returncode, run.stdout) == (1, "")
        assert cost in run.stderr
        assert "add --yes" in run.stderr
    too_few = [*command[:-1], "1"]
    run = subprocess.run(too_few, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (1, "")
    assert "protocol.null_permutations: " in run.stderr
    said = _at_a_terminal(command, "n\n").communicate(timeout=30)[1]
    assert cost in said
    assert "Request this ranking? [y/N]" in said
    with ZooRank(url) as zoo:
        assert zoo.get("/v1/rankings")["items"] == []
        asked = {"measures": ["ac_corr_null"], "protocol": {"null_permutations": 4}}
        assert zoo.cost("discs", ["only"], **asked)["epochs"] == 5
    agreed = _at_a_terminal(command, "y\n")
    _worker(["only"], "")
    assert "only" in agreed.communicate(timeout=30)[0]
    assert agreed.returncode == 0
    with ZooRank(url) as zoo:
        [made] = zoo.get("/v1/rankings")["items"]
        assert zoo.ranking(made["id"])["protocol"]["null_permutations"] == 4
        assert zoo.ranking(made["id"])["epochs_per_candidate"] == 5


def test_rank_with_yes_does_not_ask(api: tuple[str, subprocess.Popen[bytes]]) -> None:
    url, process = api
    _await(url, process)
    with transaction() as session:
        add_dataset(session)
        add_checkpoint(session, "only")
    options = ["--measure", "one_epoch_outcome", "--measure", "ac_corr_null", "--yes", "--json"]
    command = [*ZOORANK, "rank", "discs", "only", "--url", url, *options]
    run = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _worker(["only"], "")
    printed, said = run.communicate(timeout=30)
    assert json.loads(printed)["epochs_per_candidate"] == 20
    assert "20 training epochs each, 19 on permuted labels: 20 epochs in all." in said
    assert "Time: not known; the dataset has not been inspected yet" in said


def test_rank_says_when_nobody_answers() -> None:
    url = f"http://127.0.0.1:{_free_port()}"
    run = subprocess.run([*ZOORANK, "rank", "d", "c", "--url", url], capture_output=True, text=True)
    assert run.returncode == 1
    assert "no service answered" in run.stderr
    with ZooRank(url) as zoo, pytest.raises(UnreachableError):
        zoo.ranking("x")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_rank_without_an_answer_fails_and_says_so(
    api: tuple[str, subprocess.Popen[bytes]], options: list[str]
) -> None:
    url, process = api
    _await(url, process)
    with transaction() as session:
        add_dataset(session)
        add_checkpoint(session, "only")
    command = [*ZOORANK, "rank", "discs", "only", "--url", url, *options]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _worker([], "only")
    printed, said = run.communicate(timeout=30)
    assert run.returncode == 1
    assert "a truncated file" in printed
    assert "no candidate could be evaluated" in said
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with ZooRank(url) as zoo:
        while not (queued := zoo.get("/v1/rankings", state="queued")["items"]):
            time.sleep(0.05)
        zoo.post(f"/v1/rankings/{queued[0]['id']}/cancel")
    printed, said = run.communicate(timeout=30)
    assert run.returncode == 1
    assert "canceled" in printed
    assert "was canceled" in said


HEADER = "target,candidate,kind,name,value,higher_is_better,seed,cohort\n"


def _outcomes(url: str, *arguments: str) -> tuple[int, str]:
    """What `zoorank outcomes` returned, and printed or said."""
    environment = {**os.environ, "COLUMNS": "160"}
    command = [*ZOORANK, "outcomes", *arguments, "--url", url]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (run.returncode == 0) == (run.stderr == "")
    return run.returncode, run.stdout + run.stderr


def test_a_file_of_outcomes_is_imported_and_listed(
    api: tuple[str, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    url, process = api
    file = tmp_path / "outcomes.csv"
    file.write_text(
        f"\ufeff{HEADER}discs,vessels,outcome,dice,0.75,true,0,A\ndiscs,[red],score,logme,-1.5,true,,\n"
    )
    _await(url, process)
    assert _outcomes(url, "import", str(file), "--source", "Lab 2025") == (0, "2 added, 0 replaced, 0 unchanged\n")
    file.write_text(f"{HEADER}discs,vessels,outcome,dice,0.5,true,0,A\ndiscs,[red],score,logme,-1.5,true,,\n")
    assert _outcomes(url, "import", str(file), "--source", "Lab 2025") == (0, "0 added, 1 replaced, 1 unchanged\n")
    listed = tmp_path / "outcomes.json"
    with ZooRank(url) as zoo:
        found = list(zoo.outcomes(target="discs"))
    fields = ("target", "candidate", "kind", "name", "value", "higher_is_better", "seed", "cohort")
    listed.write_text(json.dumps([{field: row[field] for field in fields} for row in found]))
    assert _outcomes(url, "import", str(listed), "--source", "Lab 2025") == (
        0,
        "0 added, 0 replaced, 2 unchanged\n",
    )
    _, printed = _outcomes(url, "list", "--kind", "outcome")
    [line] = [line for line in printed.splitlines() if "vessels" in line]
    *cells, row_id = [cell.strip() for cell in line.strip("│ ").split("│")]
    assert cells == ["discs", "vessels", "outcome", "dice", "0.5", "0", "imported from Lab 2025"]
    assert row_id.startswith("lg_")
    assert "[red]" in _outcomes(url, "list", "--target", "discs")[1]
    assert "--limit shows more" in _outcomes(url, "list", "--limit", "1")[1]
    assert "--limit shows more" not in _outcomes(url, "list", "--limit", "2")[1]
    assert "vessels" not in _outcomes(url, "list", "--target", "cups")[1]


def test_what_is_wrong_with_a_file_is_told_with_its_line(
    api: tuple[str, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    url, process = api
    file = tmp_path / "o.csv"
    _await(url, process)
    good = "discs,vessels,outcome,dice,0.75,true,0,A\n"
    for rows, source, said in (
        (f"\n{good}discs,vessels,guess,dice,0.75,true,0,A\n", "lab", f"{file}, line 4: kind: "),
        (f"\n{good}discs,vessels,outcome,dice,,true,0,A\n{good.replace('0.75', '1')}", "lab", "that of line 3"),
        (f"{good}discs,vessels,outcome,dice,nan,true,0,A\n", "lab", f"{file}, line 3: value is 'nan'"),
        (f"{good}discs,lesions,outcome,dice,1,true,0,B\n", "lab", f"{file}, line 3: cohort: "),
        (good, "finetune run", "kept for this service's own runs"),
        (good, "", f"{file}, line 2: source: "),
    ):
        file.write_text(HEADER + rows)
        code, told = _outcomes(url, "import", str(file), *(["--source", source] if source else []))
        assert (code, said in told.replace("\n", " ")) == (1, True), told
        assert "Traceback" not in told
    code, told = _outcomes(url, "import", str(tmp_path / "none.csv"), "--source", "lab")
    assert (code, "none.csv" in told) == (1, True)
    with ZooRank(url) as zoo:
        assert list(zoo.outcomes()) == []


def test_a_long_file_is_sent_whole_and_a_longer_one_in_parts(
    api: tuple[str, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    url, process = api
    file = tmp_path / "long.csv"
    _await(url, process)
    rows = [f"discs,candidate {number},outcome,balanced_accuracy,0.5,true,1,A\n" for number in range(20_001)]
    file.write_text(HEADER + "".join([*rows[:19_999], rows[0].replace("0.5", "0.6")]))
    code, told = _outcomes(url, "import", str(file), "--source", "lab")
    assert (code, f"{file}, line 20001: value: " in told.replace("\n", "")) == (1, True), told
    with ZooRank(url) as zoo:
        assert list(zoo.outcomes()) == []  # all or nothing
    file.write_text(HEADER + "".join(rows))
    code, printed = _outcomes(url, "import", str(file), "--source", "lab")
    assert printed.splitlines()[0] == "20001 rows are sent in 2 parts, each of them whole or not at all"
    assert printed.splitlines()[-1] == "20001 added, 0 replaced, 0 unchanged"
    file.write_text(HEADER + "".join([*rows[:-1], rows[-1].replace("outcome", "guess")]))
    code, told = _outcomes(url, "import", str(file), "--source", "lab")
    assert (code, f"{file}, line 20002: kind: " in told.replace("\n", "")) == (1, True), told
    assert "parts before this one that are in: 1; correct it" in told


def _worker_stand_in(folder: Path) -> None:
    package = folder / "worker"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "main.py").write_text(
        "import os, signal, subprocess, sys, time\n"
        "from service.process import lifeline\n"
        "lifeline.end_with_parent()\n"
        f"log = open({str(folder / 'started')!r}, 'a')\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import os, time; "
        "from service.process import lifeline; lifeline.get_sigterm_after(os.getppid()); time.sleep(600)'])\n"
        "print(os.getpid(), child.pid, file=log, flush=True)\n"
        "time.sleep(600)\n"
    )


def _started(folder: Path, count: int) -> list[list[int]]:
    file = folder / "started"
    for _ in range(300):
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) >= count:
            return [[int(pid) for pid in line.split()] for line in lines]
        time.sleep(0.05)
    raise AssertionError(f"fewer than {count} workers started")


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _as_usual() -> None:
    """Signals as a terminal's child has them, also where the tests run under nohup or in the background."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def _serve_on(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    """`zoorank serve` on a data folder, with the stand-in for the worker."""
    path = os.pathsep.join([str(folder), str(Path.cwd())])
    own = {key: value for key, value in os.environ.items() if not key.startswith("ZOORANK_")}
    port = (folder / "port").read_text()
    command = [*ZOORANK, "serve", "--port", port, "--data", str(folder / "data"), *options]
    with (folder / "printed").open("w") as printed:
        environment = {**own, "PYTHONPATH": path}
        return subprocess.Popen(command, env=environment, cwd=folder, stdout=printed, preexec_fn=_as_usual)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes], Path]]:
    """`zoorank serve` on an empty data folder; a process that only sleeps stands in for the worker."""
    _worker_stand_in(tmp_path)
    (tmp_path / "port").write_text(str(_free_port()))
    process = _serve_on(tmp_path)
    try:
        yield f"http://127.0.0.1:{(tmp_path / 'port').read_text()}", process, tmp_path
    finally:
        process.terminate()
        process.wait(30)


def test_serve_restarts_its_worker_and_leaves_nothing_behind(
    served: tuple[str, subprocess.Popen[bytes], Path],
) -> None:
    url, process, folder = served
    _await(url, process)
    [first] = _started(folder, 1)
    os.kill(first[0], signal.SIGKILL)
    second = _started(folder, 2)[1]
    assert not any(map(_alive, first))
    assert httpx.get(f"{url}/v1/rankings").json() == {"items": [], "next": None}
    process.terminate()
    assert process.wait(20) == 0
    assert not any(map(_alive, second))
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}/healthz")


_LEAVES_WORK = """
import os, sys, time
parent = os.getpid()
if os.fork() == 0:
    while os.getppid() == parent:
        time.sleep(0.05)
    time.sleep(0.5)
    open(sys.argv[1], "w").close()
    os._exit(0)
open(sys.argv[2], "w").close()
time.sleep(60)
"""


def test_processes_of_a_killed_worker_have_time_to_give_back_their_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back, started = tmp_path / "given_back", tmp_path / "started"
    command = [sys.executable, "-c", _LEAVES_WORK, str(given_back), str(started)]
    worker = Child("worker", command, os.environ)
    worker.start()
    while not started.exists():
        time.sleep(0.05)
    worker.signal(signal.SIGKILL)
    assert worker.process is not None
    worker.process.wait()
    monkeypatch.setattr(worker, "start", lambda: None)
    serve._restart(worker, threading.Event())
    assert given_back.exists()
    assert not worker.left_some


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_closed_terminal_and_an_interrupt_end_everything(
    served: tuple[str, subprocess.Popen[bytes], Path], number: signal.Signals
) -> None:
    url, process, folder = served
    _await(url, process)
    [worker] = _started(folder, 1)
    process.send_signal(number)
    assert process.wait(20) == 0
    assert not any(map(_alive, worker))
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}/healthz")


def test_serve_says_once_that_it_is_ready(
    served: tuple[str, subprocess.Popen[bytes], Path], configure: Callable[..., Settings]
) -> None:
    url, process, folder = served
    _await(url, process)
    answer = httpx.get(f"{url}/readyz")
    assert answer.status_code == 503
    assert "still starting" in answer.json()["errors"][0]["remedy"]
    assert (folder / "printed").read_text() == ""
    configure(data_dir=folder / "data")
    with transaction() as session:
        publish(session)
    time.sleep(2)
    assert (folder / "printed").read_text() == f"ready: {url}\n"


def _apis_of(process: subprocess.Popen[bytes]) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"service.api" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_serve_ends_with_an_error_when_the_api_dies(
    served: tuple[str, subprocess.Popen[bytes], Path],
) -> None:
    url, process, folder = served
    _await(url, process)
    [worker] = _started(folder, 1)
    [api] = _apis_of(process)
    os.kill(api, signal.SIGKILL)
    assert process.wait(20) != 0
    assert not any(map(_alive, worker))


def _serve(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`zoorank serve` where it is expected to end by itself."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("ZOORANK_")}
    command = [*ZOORANK, "serve", "--data", str(folder), *options]
    return subprocess.run(command, env={**own, **environment}, capture_output=True, text=True, timeout=90)


def test_a_port_that_is_taken_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        run = _serve(tmp_path / "data", "--port", str(port))
    assert (run.returncode, run.stdout) == (1, "")
    assert f"can't listen on 127.0.0.1 port {port}: Address already in use" in run.stderr
    assert "--port" in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "data" / "zoorank.db").exists()


def test_a_second_service_on_a_folder_says_which_one_holds_it(
    served: tuple[str, subprocess.Popen[bytes], Path],
) -> None:
    url, process, folder = served
    _await(url, process)
    run = _serve(folder / "data", "--port", "0")
    assert (run.returncode, run.stdout) == (1, "")
    assert f"process {process.pid} serves it at {url} since " in run.stderr
    assert f"`kill {process.pid}`" in run.stderr


def test_a_killed_service_leaves_no_process_and_another_takes_over(
    served: tuple[str, subprocess.Popen[bytes], Path],
) -> None:
    url, process, folder = served
    _await(url, process)
    [worker] = _started(folder, 1)
    [api] = _apis_of(process)
    process.kill()
    process.wait()
    again = _serve_on(folder, "--no-worker")
    try:
        _await(url, again)
        assert not _alive(api)
        assert not any(map(_alive, worker))
        assert httpx.get(f"{url}/healthz").json()["instance"]
        for _ in range(100):
            if "ready" in (folder / "printed").read_text():
                break
            time.sleep(0.1)
        assert (folder / "printed").read_text() == f"ready: {url}\n"
    finally:
        again.terminate()
        assert again.wait(30) == 0


def test_what_a_killed_service_left_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_lock, "_PATIENCE", 0.5)
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    first = data_lock.DataLock(tmp_path)
    first.take()
    with subprocess.Popen(["sleep", "60"], pass_fds=[first.fd]) as left:
        first.write(data_lock.Holder(ended.pid, "http://127.0.0.1:1", 0.0, {"API": ended.pid, "worker": left.pid}))
        os.close(first.fd)
        second = data_lock.DataLock(tmp_path)
        with pytest.raises(
            data_lock.FolderInUseError, match=rf"{left.pid} \(worker\); end .* `kill -9 {left.pid}`"
        ):
            second.take()
        left.kill()
    second.take()
    os.close(second.fd)


@pytest.mark.parametrize("host", ["::", "::1"])
def test_an_address_of_version_6_is_served(tmp_path: Path, host: str) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with listening.listen(host, 0) as own:
        port = own.getsockname()[1]
        assert listening.url(own) == f"http://[::1]:{port}"
    with listening.listen("::", 0) as own, socket.create_connection(("127.0.0.1", own.getsockname()[1])):
        pass


def test_without_the_packages_of_a_worker_serve_says_what_to_install(tmp_path: Path) -> None:
    info = tmp_path / "packages" / "zoorank-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: zoorank\nVersion: 1\n"
        "Requires-Dist: no-such-package>=2; extra == 'worker'\nRequires-Dist: typer\n"
    )
    path = os.pathsep.join([str(info.parent), str(Path.cwd())])
    run = _serve(tmp_path / "data", "--port", "0", PYTHONPATH=path)
    assert run.returncode == 1
    assert "a worker needs packages that are not installed: no-such-package; " in run.stderr
    assert "pip install 'zoorank[worker]'" in run.stderr
    assert "--no-worker" in run.stderr
    for module in ("worker.main", "worker.demo"):
        environment = {**os.environ, "PYTHONPATH": path}
        run = subprocess.run([sys.executable, "-m", module], env=environment, capture_output=True, text=True)
        assert run.returncode == 1
        assert "pip install 'zoorank[worker]'" in run.stderr
        assert "Traceback" not in run.stderr


def test_the_command_line_corrects_retries_and_removes(api: tuple[str, subprocess.Popen[bytes]]) -> None:
    url, process = api
    _await(url, process)
    with transaction() as session:
        add_dataset(session, "optic disc")
        add_checkpoint(session, "a")
        run = FinetuneRun(
            dataset_id=add_dataset(session, "b").id,
            checkpoint_id=add_checkpoint(session, "c").id,
            method="ac_norm",
            protocol=DEFAULT_FINETUNE,
        )
        requests.add(session, run)

    def said(*words: str, status: int = 0) -> str:
        ended = CliRunner().invoke(command_line, [*words, "--url", url])
        assert ended.exit_code == status, ended.output
        return " ".join(ended.output.split())

    assert "optic disc is done" in said("dataset", "change", "optic disc", "--modality", "fundus")
    assert "nothing to change" in said("dataset", "change", "optic disc", status=1)
    said("checkpoint", "change", "a", "--card", "licence=MIT", "--card", 'tags=["eye"]')
    with ZooRank(url) as zoo:
        assert zoo.get("/v1/datasets/optic disc")["modality"] == "fundus"
        card = zoo.get("/v1/checkpoints/a")["card"]
    assert (card["licence"], card["tags"], card["source_data"]) == ("MIT", ["eye"], "a")
    assert "is done" in said("checkpoint", "retry", "a", status=1)
    assert "is queued" in said("run", "change", run.id, "--note", "with the new masks")
    with ZooRank(url) as zoo:
        assert zoo.get(f"/v1/finetune-runs/{run.id}")["note"] == "with the new masks"
    assert "cancel it first" in said("run", "remove", run.id, status=1)
    assert "canceled" in said("run", "cancel", run.id)
    assert "queued" in said("run", "retry", run.id)
    assert "is needed by" in said("dataset", "remove", "b", status=1)
    assert "removed" in said("dataset", "remove", "optic disc")
    with ZooRank(url) as zoo, pytest.raises(ProblemError, match="no dataset"):
        zoo.get("/v1/datasets/optic disc")
