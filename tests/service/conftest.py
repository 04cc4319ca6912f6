"""A service with published capabilities, and rows put there through the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from service.api.app import create_app
from service.client.http import ZooRank
from service.jobs import ending, requests
from service.jobs.claims import Claim, claim
from service.jobs.scores import record_score
from service.jobs.work import claim_evaluation
from service.ledger.ranked_list import rank
from service.settings import Settings
from service.store import capabilities
from service.store import published as contents_of_capabilities
from service.store.contents import (
    Card,
    EvaluationFacts,
    FinetuneProtocol,
    FinetuneResult,
    Protocol,
    ScoreRecord,
)
from service.store.dict_form import read
from service.store.published import CapabilityKind
from service.store.session import Session, transaction
from service.store.tables import Checkpoint, Dataset, Evaluation, FinetuneRun, Ranking, Score
from tests.conftest import TestClient

PLAIN_FACTS = {"flags": [], "width": 32, "seconds": 1.5}
BOTH = ["classification", "segmentation"]
PROTOCOL = {
    "optimizer": "adam",
    "learning_rate": 0.001,
    "weight_decay": 0.0,
    "batch_size": 8,
    "crop": None,
    "steps": None,
    "seed": 0,
    "voxels_per_class": 200,
    "voxels_total": 20_000,
    "stage": None,
    "threads": 1,
    "temperature": 1.0,
    "precision": "float32",
    "null_permutations": 19,
    "foreground_crops": 0.5,
    "feature_width": None,
}
FIELDS: dict[str, dict[str, Any]] = {
    "optimizer": {"type": "text", "choices": ["adam", "sgd"]},
    "learning_rate": {"type": "number", "above": 0, "highest": 1e30},
    "weight_decay": {"type": "number", "lowest": 0, "highest": 1e6},
    "batch_size": {"type": "integer", "lowest": 2, "highest": 100_000},
    "crop": {"type": "integers", "lowest": 8, "highest": 100_000, "nullable": True},
    "steps": {"type": "integer", "lowest": 1, "highest": 10_000_000, "nullable": True},
    "seed": {"type": "integer", "lowest": 0, "highest": 2**32 - 1},
    "voxels_per_class": {"type": "integer", "lowest": 1, "highest": 10_000_000},
    "voxels_total": {"type": "integer", "lowest": 1, "highest": 10_000_000},
    "stage": {"type": "text", "nullable": True},
    "threads": {"type": "integer", "lowest": 1, "highest": 1024},
    "temperature": {"type": "number", "lowest": 1e-6, "highest": 1e6},
    "precision": {"type": "text", "choices": ["float32", "tf32", "mixed"]},
    "null_permutations": {"type": "integer", "lowest": 2, "highest": 999},
    "foreground_crops": {"type": "number", "lowest": 0, "highest": 1},
    "feature_width": {"type": "integer", "lowest": 0, "highest": 1_000_000, "nullable": True},
    "epochs": {"type": "integer", "lowest": 1, "highest": 100_000},
    "patience": {"type": "integer", "lowest": 1, "highest": 100_000},
}
FROZEN = {"optional": False, "epochs": 0, "epochs_per_permutation": 0}
TRAINED = {"optional": False, "epochs": 1, "epochs_per_permutation": 0}
REPEATED = {"optional": True, "epochs": 1, "epochs_per_permutation": 1}
OF_EPOCH = ["ac_corr", "ac_corr_null", "one_epoch_outcome"]
CAPABILITIES: dict[str, dict[str, Any]] = {
    "measure": {
        "one_epoch_outcome": {"title": "One epoch", "source": "ours", "tasks": BOTH, **TRAINED, "trust": 0.4},
        "logme": {"title": "LogME", "source": "You et al. 2021", "tasks": BOTH, **FROZEN},
        "ac_corr": {"title": "AC-Corr, raw sum", "source": "Eq. 10", "tasks": BOTH, **TRAINED},
        "ac_corr_null": {"title": "AC-Corr, z", "source": "Eq. 10", "tasks": BOTH, **REPEATED},
        "leep": {"title": "LEEP", "source": "Nguyen et al. 2020", "tasks": ["classification"], **FROZEN},
    },
    "architecture": {
        "unet": {
            "summary": "a U-Net",
            "tasks": ["segmentation"],
            "spatial_dims": [2, 3],
            "parameters": {"channels": [16, 32], "dropout": 0.0},
        },
        "wnet": {"summary": "two", "tasks": ["segmentation"], "spatial_dims": [2], "parameters": {}},
    },
    "card": {
        "disc_card": {
            "architecture": "wnet",
            "parameters": {"spatial_dims": 2, "in_channels": 3, "classes": 3},
            "source_task": "segmentation",
            "source_data": "discs",
            "modality": "fundus",
            "note": "two heads",
        }
    },
    "method": {"ac_norm": {"summary": "AC-Norm", "usual": True}, "vanilla": {"summary": "all weights"}},
    "ranking_protocol": {"default": PROTOCOL},
    "finetune_protocol": {"default": {**PROTOCOL, "epochs": 100, "patience": 10}},
    "protocol_field": FIELDS,
    "card_field": {
        "head": {"choices": ["softmax", "sigmoid", "none"]},
        "normalisation.scale": {"choices": ["unit", "zscore", "none"]},
    },
    "reader": {"npz": {"summary": "NumPy"}},
    "target_task": {
        "classification": {"summary": "a class of an image", "primary_metric": "accuracy"},
        "segmentation": {"summary": "a class of each voxel", "primary_metric": "dice"},
        "regression": {"summary": "numbers of an image", "primary_metric": "r2"},
        "multilabel": {"summary": "labels of an image", "primary_metric": "auc"},
    },
    "flag": {
        "few_steps": {"meaning": "the one epoch had few steps", "measures": OF_EPOCH},
        "no_affine_norm": {
            "meaning": "the one epoch was plain training without any norm to recalibrate",
            "measures": OF_EPOCH,
        },
        "beyond_paper": {"meaning": "AC-Norm recalibrated norm layers other than BatchNorm"},
        "low_spread": {"meaning": "the affine parameters moved far"},
        "mixed_widths": {
            "meaning": "the layers of the candidates have different widths",
            "differs": "width",
            "measures": ["ac_corr"],
        },
        "unstable": {"meaning": "other starts may change the order", "within_spread": True},
        "degenerate": {"meaning": "the source affines carry no information", "may_rank": False},
        "saturated": {"meaning": "the features separate the labels exactly", "may_rank": False},
        "not_applicable": {"meaning": "the measure has no meaning here", "may_rank": False, "marks_missing": True},
        "failed": {"meaning": "the measure could not be computed", "may_rank": False},
    },
}
INSPECTION: dict[str, Any] = {
    "images": 12,
    "shape": [64, 64],
    "channels": 3,
    "dtype": "uint8",
    "value_range": [0.0, 255.0],
    "classes": None,
    "targets": None,
    "splits": {"train": 8, "val": 2, "test": 2},
    "groups": 12,
    "sha256": None,
    "spacing": None,
    "empty": {"train": 2, "val": 0, "test": 1},
    "warnings": [],
}
DEFAULT_PROTOCOL = read(Protocol, PROTOCOL)
DEFAULT_FINETUNE = read(FinetuneProtocol, CAPABILITIES["finetune_protocol"]["default"])


def publish(session: Session, published: Mapping[str, Mapping[str, Any]] = CAPABILITIES) -> None:
    """Publish these capabilities as a worker does."""
    kinds = {
        kind.name: kind for kind in vars(contents_of_capabilities).values() if isinstance(kind, CapabilityKind)
    }
    typed = {
        kind: {name: read(kinds[kind].content, body) for name, body in entries.items()}
        for kind, entries in published.items()
    }
    capabilities.publish(session, typed)


@pytest.fixture
def client(configured: Settings) -> Iterator[TestClient]:
    """A client of the service on each kind of database, with capabilities published."""
    with transaction() as session:
        publish(session)
    with TestClient(create_app(), raise_server_exceptions=False) as own:
        yield own


@pytest.fixture
def sqlite_client(configure: Callable[..., Settings], sqlite_url: str) -> Iterator[TestClient]:
    """The same on SQLite alone, for what no database decides."""
    configure(database_url=sqlite_url)
    with transaction() as session:
        publish(session)
    with TestClient(create_app(), raise_server_exceptions=False) as own:
        yield own


def there(settings: Settings, name: str) -> str:
    """The path of a file of this name in the data folder, which is made."""
    file = settings.data_dir / name
    file.touch()
    return str(file)


def dataset_body(settings: Settings, name: str = "discs", **more: object) -> dict[str, Any]:
    """A request that registers a dataset, whose file is there."""
    uri = there(settings, f"{name}.npz")
    return {"uri": uri, "name": name, "task": "segmentation", "spatial_dims": 2, **more}


def checkpoint_body(settings: Settings, name: str = "vessels", **more: object) -> dict[str, Any]:
    """A request that registers a checkpoint, whose file is there."""
    return {
        "uri": f"file://{there(settings, f'{name}.safetensors')}",
        "name": name,
        "architecture": "unet",
        "spatial_dims": 2,
        "parameters": {"in_channels": 3, "classes": 2},
        "card": {"source_task": "segmentation", "source_data": "vessels", "modality": "fundus"},
        **more,
    }


def add_dataset(session: Session, name: str = "discs", *, ready: bool = True, **more: Any) -> Dataset:
    """A dataset's row, inspected unless told otherwise."""
    row = Dataset(name=name, uri=f"/{name}.npz", task="segmentation", spatial_dims=2, **more)
    requests.add(session, row)
    return _inspected(session, row, ready, fingerprint="f")


def add_checkpoint(session: Session, name: str, *, ready: bool = True, **more: Any) -> Checkpoint:
    """A checkpoint's row, past its preflight unless told otherwise."""
    values: dict[str, Any] = {
        "uri": f"/{name}.pt",
        "architecture": "unet",
        "parameters": {"spatial_dims": 2, "in_channels": 3, "classes": 2},
        "card": {"source_task": "segmentation", "source_data": name, "modality": "fundus"},
        **more,
    }
    values["card"] = Card(**values["card"])
    row = Checkpoint(name=name, **values)
    requests.add(session, row)
    return _inspected(session, row, ready, sha256="0" * 64)


def _inspected(session: Session, row: Any, ready: bool, **values: Any) -> Any:
    if ready:
        held = claim(session, type(row), row.id, worker="test")
        assert held is not None
        ending.complete(session, held, state="done", **values)
        session.refresh(row)
    return row


def add_ranking(session: Session, names: list[str], **more: Any) -> Ranking:
    """A ranking of these new checkpoints on a new dataset."""
    values: dict[str, Any] = {
        "measures": ["one_epoch_outcome", "logme"],
        "order_by": "one_epoch_outcome",
        "protocol": DEFAULT_PROTOCOL,
        "finetune_protocol": DEFAULT_FINETUNE,
        "finetune_method": "ac_norm",
        **more,
    }
    if "dataset_id" not in values:
        values["dataset_id"] = add_dataset(session).id
    found = [add_checkpoint(session, name) for name in names]
    ranking = Ranking(**values)
    requests.add_ranking(session, ranking, found)
    return ranking


def evaluations(session: Session, ranking: Ranking) -> dict[str, Evaluation]:
    """The evaluations of a ranking by their candidate's name."""
    return {row.checkpoint.name: row.evaluation for row in rank(session, ranking).candidates}


def score_of(value: float | None, *flags: str, measure: str = "one_epoch_outcome") -> Score:
    """A score to record."""
    return Score(
        measure=measure, value=value, seconds=0.25, flags=list(flags), record=ScoreRecord({"N": 9}), reason=None
    )


def evaluate(evaluation_id: str, *scores: Score, facts: dict[str, Any] | None = None) -> Claim:
    """Do a worker's part for one evaluation."""
    with transaction() as session:
        work = claim_evaluation(session, evaluation_id, worker="test")
    assert work is not None
    with transaction() as session:
        for score in scores:
            record_score(session, work.claim, score)
        ending.complete(session, work.claim, state="done", facts=read(EvaluationFacts, facts or PLAIN_FACTS))
    return work.claim


def fail(evaluation_id: str, reason: str) -> None:
    """End an evaluation with a reason."""
    with transaction() as session:
        work = claim_evaluation(session, evaluation_id, worker="test")
        assert work is not None
        ending.complete(session, work.claim, state="failed", reason=reason)


def finish_run(run: FinetuneRun, result: dict[str, Any]) -> None:
    """Do a worker's part for one finetune run."""
    with transaction() as session:
        held = claim(session, FinetuneRun, run.id, worker="test")
        assert held is not None
        ending.complete(session, held, state="done", result=read(FinetuneResult, result))


@contextmanager
def client_of(client: TestClient) -> Iterator[ZooRank]:
    """The Python client, on the service in this process."""
    zoo = ZooRank("http://zoo")
    zoo._http.close()
    zoo._http = client
    yield zoo
