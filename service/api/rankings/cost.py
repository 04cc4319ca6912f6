"""What a ranking costs: its exact number of training epochs, and seconds estimated from past evaluations."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from service.api.names import NamedOut
from service.api.rankings.schemas import CostOut
from service.ledger.wording import listed
from service.store import capabilities, costs
from service.store.contents import EvaluationFacts, Protocol
from service.store.costs import Past
from service.store.published import MEASURES
from service.store.session import Session
from service.store.tables import Checkpoint, Dataset, Ranking

FEWEST_IMAGES_OF_A_STEP = 2


@dataclass(frozen=True)
class Epochs:
    """Training epochs of one candidate: those that all its measures share, and those of permuted labels."""

    shared: int
    null: int

    @property
    def all(self) -> int:
        """Training epochs of one candidate in all."""
        return self.shared + self.null


def epochs_of(session: Session, measures: Sequence[str], protocol: Protocol) -> Epochs | None:
    """The epochs that these measures take; None when some measure is not published with its epochs."""
    published = capabilities.of_kind(session, MEASURES)
    asked = [published.get(name) for name in measures]
    shared = [measure.epochs for measure in asked if measure is not None and measure.epochs is not None]
    if len(shared) < len(asked):
        return None
    repeated = max(measure.epochs_per_permutation for measure in asked if measure is not None)
    return Epochs(max(shared), repeated * protocol.null_permutations)


def cost_of(session: Session, ranking: Ranking, dataset: Dataset, candidates: Sequence[Checkpoint]) -> CostOut:
    """What this ranking would take; it need not be in the database."""
    epochs = epochs_of(session, ranking.measures, ranking.protocol)
    steps = _steps_per_epoch(dataset, ranking.protocol)
    seconds, why = _seconds(session, ranking, candidates, epochs, steps)
    return CostOut(
        dataset=NamedOut.model_validate(dataset),
        candidates=len(candidates),
        measures=ranking.measures,
        null_epochs_per_candidate=epochs.null if epochs else None,
        epochs_per_candidate=epochs.all if epochs else None,
        epochs=epochs.all * len(candidates) if epochs else None,
        steps_per_epoch=steps,
        steps=epochs.all * len(candidates) * steps if epochs and steps is not None else None,
        seconds=seconds,
        seconds_from=why,
    )


def _steps_per_epoch(dataset: Dataset, protocol: Protocol) -> int | None:
    """The steps of this protocol; None before the dataset was inspected."""
    if dataset.inspection is None:
        return None
    images = dataset.inspection.splits["train"]
    return steps_of_an_epoch(images, batch_size=protocol.batch_size, steps=protocol.steps)


def steps_of_an_epoch(images: int, *, batch_size: int, steps: int | None) -> int:
    """Every training image once, at most `steps` batches; a last batch of one image is dropped.

    This is the rule of the worker's loader (`TargetLoader.training_order`), repeated because the steps are shown
    before anything is trained. A test holds the two together.
    """
    whole = images // batch_size + (images % batch_size >= FEWEST_IMAGES_OF_A_STEP)
    return min(whole, steps or whole)


def _seconds(
    session: Session,
    ranking: Ranking,
    candidates: Sequence[Checkpoint],
    epochs: Epochs | None,
    steps: int | None,
) -> tuple[float | None, str]:
    """One worker's seconds, and where they come from; or None, and why."""
    if epochs is None:
        return None, "the workers that run now do not say how many epochs these measures take"
    if steps is None:
        return None, "the dataset has not been inspected yet, so the steps of an epoch are not known"
    comparable = [past for past in costs.past(session, ranking.dataset_id) if _is_like(past, ranking.protocol)]
    seconds_of = {row.name: _seconds_like(comparable, row, epochs, steps) for row in candidates}
    unknown = [name for name, seconds in seconds_of.items() if seconds is None]
    if unknown:
        return None, (
            f"no past evaluation for this dataset shows how long {listed(unknown)} will take: none of the same "
            "architecture and parameters with this batch size, crop, precision, and number of threads"
        )
    return sum(seconds for seconds in seconds_of.values() if seconds is not None), (
        "past evaluations for this dataset, of the same architectures with the same batch size, crop, precision, "
        "and number of threads; on one worker, with nothing reused"
    )


def _is_like(past: Past, protocol: Protocol) -> bool:
    """Whether an evaluation was timed, with steps that take as long as this protocol's."""
    timed = past.facts.steps and past.facts.epoch_seconds is not None and past.facts.seconds is not None
    return bool(timed) and _of_a_step(past.protocol) == _of_a_step(protocol)


def _of_a_step(protocol: Protocol) -> tuple[object, ...]:
    """What of a protocol decides how long a step takes; the rest decides how many there are, or nothing."""
    return protocol.batch_size, protocol.crop, protocol.threads, protocol.precision


def _seconds_like(known: Sequence[Past], row: Checkpoint, epochs: Epochs, steps: int) -> float | None:
    """The median over the evaluations of equal networks: what each took beside its epochs, and our epochs' own."""
    equal = [past for past in known if (past.architecture, past.parameters) == (row.architecture, row.parameters)]
    estimates = [_beside(past.facts) + epochs.all * steps * _seconds_per_step(past.facts) for past in equal]
    return statistics.median(estimates) if estimates else None


def _trained(facts: EvaluationFacts) -> float:
    return (facts.epoch_seconds or 0.0) + (facts.null_seconds or 0.0)


def _beside(facts: EvaluationFacts) -> float:
    return max((facts.seconds or 0.0) - _trained(facts), 0.0)


def _seconds_per_step(facts: EvaluationFacts) -> float:
    """Mean over all of its epochs, since the first steps of a worker are slow."""
    return _trained(facts) / ((facts.steps or 1) * (1 + (facts.null_epochs or 0)))
