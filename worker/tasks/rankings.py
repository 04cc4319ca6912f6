"""Score one candidate of a ranking."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import torch

from service import jobs
from service.jobs import Session, contents, write
from service.jobs.scores import copy_scores, record_score
from service.jobs.work import EvaluationWork, claim_evaluation
from worker.devices import worker_name
from worker.science.candidate import prepare
from worker.science.computing import computing
from worker.science.evidence.gather import gather
from worker.science.measures.registry import FAILED, Score, evaluate, measures, needs_of
from worker.science.specs import CandidateSpec, Progress, Protocol
from worker.tasks.contents import facts_of, protocol_of, record_of
from worker.tasks.device import device
from worker.tasks.lease import carry_out, waiting
from worker.tasks.specs import verified_spec
from worker.tasks.targets import read_registered
from worker.version import science_version


@dataclass(frozen=True)
class Scored:
    """The outcome of an evaluation whose scores are recorded."""

    content_key: str
    facts: contents.EvaluationFacts | None
    reused_from: str | None = None  # the evaluation that the scores were copied from

    def columns(self) -> Mapping[str, Any]:
        """The values to write, by the columns of the evaluation's row."""
        return {"content_key": self.content_key, "facts": self.facts, "reused_from": self.reused_from}


def score_candidate(evaluation_id: str) -> bool:
    """Claim, gather the evidence, record every measure's score; False when it could not be claimed."""
    work = waiting(lambda session: claim_evaluation(session, evaluation_id, worker=worker_name()))
    if work is None:
        return False
    carry_out(work.claim, lambda progress: _score(work, progress))
    return True


def _score(work: EvaluationWork, progress: Progress) -> Scored:
    progress("loading", 0, 1)
    spec = verified_spec(work.checkpoint)
    data = read_registered(work.dataset, progress)
    protocol = protocol_of(work.protocol)
    key = content_key(work, spec, protocol, spacing=data.spacing)
    donor = write(lambda session: copy_scores(session, work, key), meanwhile=lambda: progress("loading", 0, 1))
    if donor is not None:
        return Scored(key, donor.facts, reused_from=donor.id)
    start = perf_counter()
    registered = measures()
    needs = needs_of(registered[name] for name in work.measures)
    candidate = prepare(spec, data, seed=protocol.seed, device=device())
    del spec  # its content is in the network now; the memory is needed for what follows
    gathered = gather(candidate, data, protocol=protocol, progress=progress, needs=needs)
    for name in work.measures:
        progress("measures", 0, 0)
        with computing(protocol):
            score = evaluate(registered[name], gathered.evidence)
        _record(work, name, score, progress)
    return Scored(key, facts_of(gathered.figures, seconds=perf_counter() - start))


def content_key(
    work: EvaluationWork, spec: CandidateSpec, protocol: Protocol, *, spacing: tuple[float, ...] | None
) -> str:
    """Digest of all that decides the scores: weights and their use, dataset content, protocol, code and machine.

    The fingerprint of a dataset is that of its arrays; its spacing decides a flag and the facts.
    Of the machine that is the kind of device and the version of torch, each of which may change every number.
    """
    parts = {
        "weights": work.checkpoint.sha256,
        "candidate": {**asdict(spec), "path": None, "content": None},
        "dataset": asdict(work.dataset) | {"uri": None, "sha256": None, "spacing": spacing},
        "protocol": asdict(protocol),
        "science": science_version(),
        "device": device().type,
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _record(work: EvaluationWork, name: str, score: Score, progress: Progress) -> None:
    flags = list(score.flags)
    value, reason = score.value, score.reason
    if value is not None and not math.isfinite(value):
        value, reason, flags = None, f"the measure gave {value}", [*flags, FAILED.name]

    def keep(session: Session) -> None:
        row = jobs.Score(
            measure=name,
            value=value,
            spread=score.spread,
            seconds=score.seconds,
            flags=flags,
            record=record_of(score),
            reason=reason,
        )
        record_score(session, work.claim, row)

    write(keep, meanwhile=lambda: progress("recording", 0, 0))
