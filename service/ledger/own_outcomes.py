"""Outcomes of this service's own finetune runs."""

from __future__ import annotations

import hashlib
import json

from service.store import outcomes
from service.store.outcomes import OWN
from service.store.session import Session
from service.store.tables import Checkpoint, Dataset, FinetuneRun, Json, LedgerRow

LOWER_IS_BETTER = ("loss", "mean_absolute_error")  # and what begins with these


def record(session: Session, run: FinetuneRun) -> None:
    """The outcomes of a run that is done: one row a finite test metric."""
    result = run.result or {}
    dataset = session.get_one(Dataset, run.dataset_id)
    checkpoint = session.get_one(Checkpoint, run.checkpoint_id)
    outcomes.add(
        session,
        [
            LedgerRow(
                key=hashlib.sha256(json.dumps((run.id, metric)).encode()).hexdigest(),
                kind="outcome",
                target=dataset.name,
                candidate=checkpoint.name,
                name=metric,
                value=value,
                higher_is_better=not metric.startswith(LOWER_IS_BETTER),
                seed=run.protocol.get("seed"),
                method=run.method,
                course=course_of(run.method, run.protocol),
                cohort=dataset.cohort,
                modality=dataset.modality,
                task=dataset.task,
                source=OWN,
                finetune_run_id=run.id,
                cases=result.get("cases") or None if metric == result.get("primary") else None,
            )
            for metric, value in result.get("metrics", {}).get("test", {}).items()
            if value is not None
        ],
    )


def course_of(method: str, protocol: Json) -> str:
    """What outcomes must share to be compared: method and protocol, whatever the seed."""
    shared = {key: value for key, value in protocol.items() if key != "seed"}
    return hashlib.sha256(json.dumps((method, shared), sort_keys=True).encode()).hexdigest()[:16]
