"""Outcomes of this service's own finetune runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from service.store import checkpoints, datasets, outcomes
from service.store.contents import FinetuneProtocol, FinetuneResult, Value
from service.store.dict_form import plain
from service.store.outcomes import OWN
from service.store.session import Session
from service.store.tables import FinetuneRun, LedgerRow


def record(session: Session, run: FinetuneRun) -> None:
    """Add the outcomes of a run that is done: one row for each finite test metric."""
    result = run.result or FinetuneResult()
    dataset = datasets.with_id(session, run.dataset_id)
    checkpoint = checkpoints.with_id(session, run.checkpoint_id)
    rows = [
        LedgerRow(
            key=hashlib.sha256(json.dumps((run.id, metric)).encode()).hexdigest(),
            kind="outcome",
            target=dataset.name,
            candidate=checkpoint.name,
            name=metric,
            value=value,
            higher_is_better=result.higher_is_better.get(metric, True),
            seed=run.protocol.seed,
            method=run.method,
            course=course_of(run.method, run.protocol, run.options),
            cohort=dataset.cohort,
            modality=dataset.modality,
            task=dataset.task,
            source=OWN,
            finetune_run_id=run.id,
            cases=list(result.cases) if result.cases and metric == result.primary else None,
        )
        for metric, value in result.metrics.get("test", {}).items()
        if value is not None
    ]
    outcomes.add(session, rows)


def course_of(method: str, protocol: FinetuneProtocol, options: Mapping[str, Value] | None = None) -> str:
    """What outcomes must share to be compared: method, options and protocol, whatever the seed."""
    shared = {key: value for key, value in plain(protocol).items() if key != "seed"}
    what = (method, shared, dict(options)) if options else (method, shared)
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
