"""Carry out a finetune run and deliver the network."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn

from service.jobs import contents, outlast, plain
from service.jobs.work import FinetuneWork, claim_finetune_run
from service.settings import settings
from worker.devices import worker_name
from worker.science.candidate import prepare
from worker.science.errors import ScienceError
from worker.science.specs import Progress
from worker.science.training.finetune import finetune
from worker.science.training.method import methods
from worker.tasks.contents import finetune_protocol_of, network_card_of, result_of
from worker.tasks.device import device
from worker.tasks.lease import carry_out, waiting
from worker.tasks.specs import verified_spec
from worker.tasks.targets import read_registered

CARD = "zoorank_card"  # the key of the card, as JSON, in the safetensors metadata


@dataclass(frozen=True)
class Delivered:
    """The outcome of a finetune run."""

    result: contents.FinetuneResult

    def columns(self) -> Mapping[str, Any]:
        """The values to write, by the columns of the run's row."""
        return {"result": self.result}


def run_finetune(run_id: str) -> bool:
    """Claim, train, write the network, record the metrics; False when it could not be claimed."""
    work = waiting(lambda session: claim_finetune_run(session, run_id, worker=worker_name()))
    if work is None:
        return False
    carry_out(work.claim, lambda progress: _run(work, progress))
    return True


def _run(work: FinetuneWork, progress: Progress) -> Delivered:
    progress("loading", 0, 1)
    method = methods().get(work.method)
    if method is None:
        raise ScienceError(f"method: {work.method!r} is not known; use one of {', '.join(methods())}")
    spec, target = verified_spec(work.checkpoint), read_registered(work.dataset, progress)
    protocol = finetune_protocol_of(work.protocol)
    candidate = prepare(spec, target, seed=protocol.seed, device=device())
    del spec  # its content is in the network now; the memory is needed for what follows
    finetuned = finetune(
        candidate, target, method=method, protocol=protocol, progress=progress, options=work.options
    )
    card = network_card_of(work, target, finetuned, candidate.report)
    progress("writing", 0, 1)
    name, content = f"{work.claim.id}-{work.claim.token}.safetensors", _serialized(finetuned.network, card)
    file = outlast(lambda: _write(content, name=name), meanwhile=lambda: progress("waiting for room", 0, 0))
    primary = target.task.primary.name
    return Delivered(result_of(finetuned, card, primary=primary, network_file=file.name))


def _serialized(network: nn.Module, card: contents.NetworkCard) -> bytes:
    """The weights as a safetensors file, with the card in its metadata."""
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    return save(state, metadata={CARD: json.dumps(plain(card))})


def _write(content: bytes, *, name: str) -> Path:
    """Write the file and rename it when it is whole; OSError where there is no room, and then nothing is left."""
    folder = settings().networks_dir
    folder.mkdir(parents=True, exist_ok=True)
    partial, final = folder / f"{name}.part", folder / name
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    return partial.rename(final)
