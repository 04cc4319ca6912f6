"""Publish what this worker can do, so that the service can validate requests and fill menus."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache
from typing import Any

from models_zoo.architecture import architectures
from models_zoo.card import cards
from service import jobs
from worker.science.data.readers.registry import readers
from worker.science.measures.registry import measures
from worker.science.specs import FinetuneProtocol, Protocol
from worker.science.target_tasks.registry import tasks_for
from worker.science.training.method import methods


def what_it_can() -> dict[str, dict[str, dict[str, Any]]]:
    """Kind -> name -> body, JSON values only."""
    return {
        "measure": {
            one.name: {
                "title": one.title,
                "source": one.source,
                "tasks": list(one.tasks),
                "optional": one.optional,
                "epochs": one.epochs,
                "epochs_per_permutation": one.epochs_per_permutation,
                "trust": one.trust,
            }
            for one in measures().values()
        },
        "architecture": {
            one.name: {
                "summary": one.summary,
                "tasks": list(tasks_for(one.outputs)),
                "spatial_dims": list(one.spatial_dims),
                "parameters": one.parameters,
            }
            for one in architectures().values()
        },
        "card": {name: asdict(card) for name, card in cards().items()},
        "method": {one.name: {"summary": one.summary} for one in methods().values()},
        "reader": {one.name: {"endings": list(one.endings), "summary": one.summary} for one in readers().values()},
        "protocol": {"ranking": asdict(Protocol()), "finetune": asdict(FinetuneProtocol())},
    }


@lru_cache
def publish() -> None:
    """Write it to the database, once a process: what fails is tried again by the next call."""
    with jobs.transaction() as session:
        jobs.publish(session, what_it_can())
