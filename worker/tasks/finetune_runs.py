"""Carry out a finetune run and deliver the network."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from service.jobs import transaction
from service.jobs.work import FinetuneWork, claim_finetune_run
from service.settings import settings
from worker.devices import worker_name
from worker.science.candidate import prepare
from worker.science.data.target import Target
from worker.science.errors import ScienceError
from worker.science.specs import FinetuneProtocol, Progress
from worker.science.target_tasks.registry import target_task
from worker.science.training.finetune import Finetuned, finetune
from worker.science.training.method import methods
from worker.tasks.device import device
from worker.tasks.lease import carry_out
from worker.tasks.specs import protocol_of, read_registered, verified_spec

CARD = "zoorank_card"  # the key of the card, as JSON, in the safetensors metadata


def run_finetune(run_id: str) -> None:
    """Claim, train, write the network, record the metrics."""
    with transaction() as session:
        work = claim_finetune_run(session, run_id, worker=worker_name())
    if work is not None:
        carry_out(work.claim, lambda progress: _run(work, progress))


def _run(work: FinetuneWork, progress: Progress) -> dict[str, Any]:
    progress("loading", 0, 1)
    method = methods().get(work.method)
    if method is None:
        raise ScienceError(f"method: {work.method!r} is not known; use one of {', '.join(methods())}")
    spec, data = verified_spec(work.checkpoint), read_registered(work.dataset)
    protocol = protocol_of(FinetuneProtocol, work.protocol)
    candidate = prepare(spec, data, seed=protocol.seed, device=device())
    result = finetune(candidate, data, method=method, protocol=protocol, progress=progress)
    parameters = {**work.checkpoint.parameters, "classes": len(data.classes)}
    card = {
        "architecture": work.checkpoint.architecture,
        "parameters": parameters,
        "normalisation": work.checkpoint.card.get("normalisation"),
        "value_range": list(data.value_range),
        "task": data.task.name,
        "labels": list(data.classes),
        **_outputs(data),
        "source": work.checkpoint.name,
        "source_sha256": work.checkpoint.sha256,
        "target_fingerprint": data.fingerprint,
        "method": work.method,
        "protocol": asdict(protocol),
        "metrics": result.metrics,
    }
    progress("writing", 0, 1)
    file = _write(result.network, card, name=f"{work.claim.id}-{work.claim.token}.safetensors")
    return {"result": _result(result, card, file)}


def _outputs(data: Target) -> dict[str, Any]:
    """What the network's outputs are; standardised ones times `output_scale` plus `output_mean` are the values."""
    standard = data.standard
    if standard is None:
        return {"head": data.task.head}
    values = {"output_mean": standard.mean.tolist(), "output_scale": standard.deviation.tolist()}
    return {"head": data.task.head, **values}


def _write(network: nn.Module, card: dict[str, Any], *, name: str) -> Path:
    """The weights with the card in the file's metadata; written beside, then renamed: what is there is whole."""
    folder = settings().networks_dir
    folder.mkdir(parents=True, exist_ok=True)
    partial, final = folder / f"{name}.part", folder / name
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    save_file(state, partial, metadata={CARD: json.dumps(card)})
    return partial.rename(final)


def _result(result: Finetuned, card: dict[str, Any], file: Path) -> dict[str, Any]:
    return {
        "metrics": result.metrics,
        "primary": target_task(card["task"]).primary.name,
        "cases": result.cases,
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "seconds": result.seconds,
        "network_file": file.name,
        "card": card,
    }
