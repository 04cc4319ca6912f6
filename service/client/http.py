"""A client for scripts.

    zoo = ZooRank("http://127.0.0.1:8000")
    ranking = zoo.rank("discs", ["vessels", "lesions"])
    for row in zoo.wait(ranking)["ranked"]:
        print(row["position"], row["candidate"]["name"])

Errors:

    ClientError               what this module raises
    +- UnreachableError       no service answered at this address
    +- ProblemError           it answered with a problem document: status, title, detail, errors
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

Json = dict[str, Any]
MOST_ROWS = 1000  # of a ranked list in one answer
_LONG = 600.0  # seconds; a large import on a busy machine


class ClientError(Exception):
    """What this module raises."""


class UnreachableError(ClientError):
    """No service answered at this address."""


class ProblemError(ClientError):
    """The service answered with a problem document."""

    def __init__(self, status: int, problem: Json) -> None:
        self.status = status
        self.title: str = problem.get("title", "")
        self.detail: str = problem.get("detail", "")
        self.errors: list[Json] = problem.get("errors", [])
        lines = [
            f"{fault['field'] or 'request'}: {fault['message']} -> {fault['remedy']}" for fault in self.errors
        ]
        super().__init__("\n".join(lines) or self.detail or f"status {status}")


class ZooRank:
    """One service. Every request that makes something carries an Idempotency-Key, so it can be repeated."""

    def __init__(self, url: str, *, timeout: float = 30) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(base_url=self.url, timeout=timeout)

    def __enter__(self) -> ZooRank:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def get(self, path: str, **params: Any) -> Json:
        """The JSON document at a path."""
        return self._json("GET", path, params={k: v for k, v in params.items() if v is not None})

    def post(self, path: str, body: Json | None = None, *, key: str | None = None, **more: Any) -> Json:
        """The answer to a body, once under a key (default: a new one); `more` is httpx's."""
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        return self._json("POST", path, json=body, headers=headers, **more)

    def register_dataset(self, **body: Any) -> Json:
        """Register a dataset."""
        return self.post("/v1/datasets", body)

    def register_checkpoint(self, **body: Any) -> Json:
        """Register a checkpoint."""
        return self.post("/v1/checkpoints", body)

    def change_dataset(self, reference: str, **fields: Any) -> Json:
        """Correct these fields of a dataset."""
        return self._json("PATCH", _path("datasets", reference), json=fields)

    def change_checkpoint(self, reference: str, **fields: Any) -> Json:
        """Correct these fields of a checkpoint."""
        return self._json("PATCH", _path("checkpoints", reference), json=fields)

    def describe(self, kind: str, reference: str, note: str | None) -> Json:
        """Give one of the `kind` rankings or finetune-runs this note; None takes it away."""
        return self._json("PATCH", _path(kind, reference), json={"note": note})

    def remove(self, kind: str, reference: str, *, force: bool = False) -> None:
        """Remove one of the `kind` datasets, checkpoints, rankings or finetune-runs that nothing needs.

        `force` removes a ranking even where its scores count in the track record of measures.
        """
        self._send("DELETE", _path(kind, reference), params={"force": "true"} if force else None)

    def retry(self, kind: str, reference: str) -> Json:
        """Do again what failed: one of the `kind` datasets, checkpoints, rankings or finetune-runs."""
        return self.post(f"{_path(kind, reference)}/retry")

    def cancel(self, kind: str, reference: str) -> Json:
        """Cancel one of the `kind` rankings or finetune-runs that is not over."""
        return self.post(f"{_path(kind, reference)}/cancel")

    def rank(self, dataset: str, candidates: Sequence[str], **more: Any) -> Json:
        """Request a ranking; `more` are further fields of the request."""
        return self.post("/v1/rankings", {"dataset": dataset, "candidates": list(candidates), **more})

    def cost(self, dataset: str, candidates: Sequence[str], **more: Any) -> Json:
        """What `rank` with the same arguments would take: epochs, steps, seconds; nothing is requested."""
        body = {"dataset": dataset, "candidates": list(candidates), **more}
        return self._json("POST", "/v1/rankings/cost", json=body)

    def ranking(
        self,
        ranking_id: str,
        *,
        records: bool = False,
        as_of: str | int | None = None,
        protocol: str | None = None,
    ) -> Json:
        """A ranking with its whole list; with `records`, also what each score was computed from.

        Order and answer are those of the newest stored revision, else of `as_of`: its number, or "now". With
        `protocol` they are derived from outcomes of that comparison group where a target has any.
        """
        path, asked = f"/v1/rankings/{ranking_id}", {"limit": MOST_ROWS, "records": "true" if records else None}
        shown = self.get(path, **asked, as_of=as_of, protocol=protocol)
        revision = shown["answer"]["revision"]  # of all parts
        asked |= {"as_of": as_of if revision is None else revision, "protocol": protocol}
        return {**shown, "ranked": self._all_rows(path, shown, asked)}

    def answers(self, ranking_id: str) -> Iterator[Json]:
        """Every stored revision of a ranking's answer, newest first."""
        yield from self._listed(f"/v1/rankings/{ranking_id}/answers")

    def renew_answer(self, ranking_id: str) -> Json:
        """Store what a ranking says by the ledger as it is now; the newest revision where that is the same."""
        return self.post(f"/v1/rankings/{ranking_id}/answers")

    def finetune(self, dataset: str, checkpoint: str, **more: Any) -> Json:
        """Request a finetune run; `record_outcome=False` keeps its test metrics out of the ledger."""
        return self.post("/v1/finetune-runs", {"dataset": dataset, "checkpoint": checkpoint, **more})

    def import_outcomes(self, rows: Sequence[Json], *, source: str | None = None) -> Json:
        """Import outcomes and scores, all of these rows (at most 20 000) or none."""
        body = {"source": source, "rows": list(rows)}
        return self.post("/v1/outcomes", body, timeout=_LONG)

    def outcomes(self, **filters: Any) -> Iterator[Json]:
        """Every row of the ledger that has what `filters` ask for, newest first."""
        yield from self._listed("/v1/outcomes", **filters)

    def exclude_outcome(self, outcome_id: str, reason: str) -> Json:
        """Let an outcome count nowhere, for a reason that is kept; all metrics of an own run go together."""
        change = {"excluded": True, "reason": reason}
        return self._json("PATCH", _path("outcomes", outcome_id), json=change)

    def include_outcome(self, outcome_id: str, reason: str | None = None) -> Json:
        """Let an outcome that was excluded count again."""
        change = {"excluded": False, "reason": reason}
        return self._json("PATCH", _path("outcomes", outcome_id), json=change)

    def agreement(self, **part: Any) -> Json:
        """How well the scores of every measure agree with outcomes, over a slice of the ledger."""
        return self.get("/v1/agreement", **part)

    def network(self, run_id: str) -> bytes:
        """The finetuned network of a run, as safetensors."""
        return self._send("GET", f"/v1/finetune-runs/{run_id}/network").content

    def wait(self, ranking: Json, *, each: Callable[[Json], None] = lambda _: None, seconds: float = 0.5) -> Json:
        """The ranking once it is over; `each` is given every state on the way."""
        while True:
            each(ranking)
            if ranking["state"] not in ("queued", "running"):
                return ranking
            time.sleep(seconds)
            ranking = self.ranking(ranking["id"])

    def _all_rows(self, path: str, shown: Json, asked: Json) -> list[Json]:
        """Every row of the list that is shown, which comes in parts.

        Rows of a running ranking move from one part to another meanwhile. Its parts are read again while a row
        was in none of them, at most twice.
        """
        rows = {row["evaluation"]: row for row in shown["ranked"]}
        total = sum(shown["counts"].values())
        parts = range(0, total, MOST_ROWS)
        for first in (*parts[1:], *parts, *parts):
            if len(rows) < total:
                rows |= {row["evaluation"]: row for row in self.get(path, **asked, first=first)["ranked"]}
        return sorted(rows.values(), key=lambda row: math.inf if row["position"] is None else row["position"])

    def _listed(self, path: str, **filters: Any) -> Iterator[Json]:
        page = self.get(path, limit=100, **filters)
        yield from page["items"]
        while page["next"]:
            page = self.get(path, limit=100, after=page["next"], **filters)
            yield from page["items"]

    def _json(self, method: str, path: str, **more: Any) -> Json:
        document: Json = self._send(method, path, **more).json()
        return document

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **more)
        except httpx.TransportError as error:
            raise UnreachableError(f"no service answered at {self.url} ({error})") from error
        if answer.is_error:
            raise ProblemError(answer.status_code, _problem(answer))
        return answer


def _path(kind: str, reference: str) -> str:
    return f"/v1/{kind}/{quote(reference, safe='')}"


def _problem(answer: httpx.Response) -> Json:
    try:
        document = answer.json()
    except ValueError:
        return {"detail": answer.text[:500]}
    return document if isinstance(document, dict) else {"detail": str(document)}
