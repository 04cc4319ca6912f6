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
from service.store.tables import ComparisonGroup, FinetuneRun, LedgerRow


def record(session: Session, run: FinetuneRun) -> None:
    """Add the outcomes of a run that is done: one row for each finite test metric."""
    result = run.result or FinetuneResult()
    dataset = datasets.with_id(session, run.dataset_id)
    checkpoint = checkpoints.with_id(session, run.checkpoint_id)
    group = group_of(run.method, run.protocol, run.options)
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
            comparison_group=group.id,
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
    outcomes.add_group(session, group)
    outcomes.add(session, rows)


def group_of(
    method: str, protocol: FinetuneProtocol, options: Mapping[str, Value] | None = None
) -> ComparisonGroup:
    """The group in which the outcome of such a run compares; runs of one group differ in their seed alone."""
    shared = {key: value for key, value in plain(protocol).items() if key != "seed"}
    what = (method, shared, dict(options)) if options else (method, shared)
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
    return ComparisonGroup(id=digest, method=method, options=dict(options or {}), protocol=protocol)
