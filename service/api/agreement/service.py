"""Agreement over a slice of the ledger."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from service.api import references
from service.api.agreement.schemas import AnswersOut, GroupEvidenceOut, SliceOut, TargetOut
from service.api.errors import NotFoundError
from service.api.track_record import AgreementOut
from service.ledger import records as ledger
from service.ledger.flags import flags
from service.ledger.fusion import DERIVED, is_bounded, trust_of
from service.ledger.records import Slice
from service.ledger.statistics.agreement import agreements
from service.ledger.statistics.combination import LeftOut, answers, leave_one_out
from service.ledger.statistics.target_record import TargetRecord
from service.store import capabilities, rankings
from service.store.contents import Protocol
from service.store.published import METRICS
from service.store.session import Session


def over(
    session: Session,
    part: Slice,
    *,
    thorough: bool,
    by_target: bool,
    published: bool = True,
    scored: bool = False,
    ranking_id: str | None = None,
) -> SliceOut:
    """Every measure that has scores and outcomes in the slice; prior and fused score from all other targets.

    `scored`: only targets where measures have scores; else the prior, and what is fused from it, has more of them.
    `published`: the fused score starts from how far studies found that a measure can be trusted. `ranking_id`:
    scores are of its protocol where there are any.
    """
    references.comparison_group(session, part.group, field="protocol")
    trust = trust_of(session) if published else {}
    past = _chosen(session, part, trust, _protocol(session, ranking_id), cases=thorough)
    if scored:
        past = [left_out for left_out in past if set(left_out.record.scores) - set(DERIVED)]
    records = [left_out.record for left_out in past]
    measures = sorted({measure for record in records for measure in record.scores})
    by_measure = agreements(records, measures, thorough=thorough, by_target=by_target)
    shown = {name: AgreementOut.model_validate(agreement) for name, agreement in by_measure.items()}
    best_first = sorted(shown.items(), key=_best_first)
    return SliceOut(
        targets=[_target(record) for record in records],
        measures=dict(best_first),
        answers=AnswersOut.model_validate(answers(past)),
    )


def _best_first(item: tuple[str, AgreementOut]) -> tuple[float, str]:
    """Best weighted tau first, those without one last, equals by name."""
    name, agreement = item
    return (math.inf if agreement.weighted_tau is None else -agreement.weighted_tau, name)


def _protocol(session: Session, ranking_id: str | None) -> Protocol | None:
    if ranking_id is None:
        return None
    ranking = rankings.find(session, ranking_id)
    if ranking is None:
        raise NotFoundError(f"there is no ranking {ranking_id!r}", field="ranking", remedy="see GET /v1/rankings")
    return ranking.protocol


def _chosen(
    session: Session, part: Slice, trust: Mapping[str, float], protocol: Protocol | None, *, cases: bool
) -> list[LeftOut]:
    """The records of the slice; what is derived for a target looks at all targets, also outside of the slice."""
    wide = replace(part, target=None, task=None, modality=None)
    records = ledger.records(session, flags(session), wide, protocol=protocol, cases=cases)
    bounded = {name: is_bounded(metric) for name, metric in capabilities.of_kind(session, METRICS).items()}
    return [left_out for left_out in leave_one_out(records, trust, bounded) if part.has(left_out.record)]


def targets(session: Session) -> list[TargetOut]:
    """Every target with outcomes."""
    return [_target(record) for record in ledger.records(session, flags(session))]


def _target(record: TargetRecord) -> TargetOut:
    return TargetOut(
        name=record.target,
        task=record.task,
        modality=record.modality,
        cohort=record.cohort,
        metric=record.metric,
        candidates=len(record.outcomes),
        group=GroupEvidenceOut.model_validate(record.group),
        other_groups=[GroupEvidenceOut.model_validate(group) for group in record.other_groups],
        left_out=len(record.left_out),
        left_out_candidates=list(record.left_out),
    )
