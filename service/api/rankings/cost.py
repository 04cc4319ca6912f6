"""What a ranking costs: training epochs for certain, seconds as far as past evaluations tell."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from service.api.names import NamedOut
from service.api.rankings.schemas import CostOut
from service.store import capabilities, costs
from service.store.costs import Past
from service.store.session import Session
from service.store.tables import Checkpoint, Dataset, Json, Ranking

# What of a protocol decides how long a step takes; the rest decides how many there are, or nothing.
_OF_A_STEP = ("batch_size", "crop", "threads", "precision")


@dataclass(frozen=True)
class Epochs:
    """Training epochs of one candidate: those that all its measures share, and those of permuted labels."""

    shared: int
    null: int

    @property
    def all(self) -> int:
        """Together."""
        return self.shared + self.null


def epochs_of(session: Session, measures: Sequence[str], protocol: Json) -> Epochs | None:
    """The epochs that these measures take; None when the workers don't say so of one of them (any more)."""
    known = capabilities.of_kind(session, "measure")
    bodies = [known.get(name, {}) for name in measures]
    if not all("epochs" in body for body in bodies):
        return None
    repeated = max(body.get("epochs_per_permutation", 0) for body in bodies)
    return Epochs(max(body["epochs"] for body in bodies), repeated * protocol.get("null_permutations", 0))


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


def _steps_per_epoch(dataset: Dataset, protocol: Json) -> int | None:
    """Every training image once, a last batch of one dropped; None before the dataset was inspected."""
    if dataset.inspection is None:
        return None
    images, batch = dataset.inspection["splits"]["train"], protocol["batch_size"]
    whole = images // batch + (images % batch > 1)
    return int(min(whole, protocol.get("steps") or whole))


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
    known = [one for one in costs.past(session, ranking.dataset_id) if _tells(one, ranking.protocol)]
    found = {row.name: _seconds_like(known, row, epochs, steps) for row in candidates}
    unknown = [name for name, seconds in found.items() if seconds is None]
    if unknown:
        return None, (
            f"no past evaluation for this dataset tells how long {_listed(unknown)} will take: none of the same "
            "architecture and parameters with this batch size, crop, precision, and number of threads"
        )
    return sum(seconds for seconds in found.values() if seconds is not None), (
        "past evaluations for this dataset, of the same architectures with the same batch size, crop, precision, "
        "and number of threads; on one worker, with nothing reused"
    )


def _listed(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _tells(one: Past, protocol: Json) -> bool:
    same = all(one.protocol.get(key) == protocol.get(key) for key in _OF_A_STEP)
    return same and bool(one.facts.get("steps")) and "epoch_seconds" in one.facts and "seconds" in one.facts


def _seconds_like(known: Sequence[Past], row: Checkpoint, epochs: Epochs, steps: int) -> float | None:
    """The median over the evaluations of equal networks: what each took beside its epochs, and our epochs' own."""
    equal = [one for one in known if (one.architecture, one.parameters) == (row.architecture, row.parameters)]
    found = [_beside(one) + epochs.all * steps * _seconds_a_step(one) for one in equal]
    return statistics.median(found) if found else None


def _beside(one: Past) -> float:
    trained = one.facts["epoch_seconds"] + one.facts.get("null_seconds", 0.0)
    return float(max(one.facts["seconds"] - trained, 0.0))


def _seconds_a_step(one: Past) -> float:
    """Over all of its epochs: the first steps of a worker are slow."""
    trained = one.facts["epoch_seconds"] + one.facts.get("null_seconds", 0.0)
    return float(trained / (one.facts["steps"] * (1 + one.facts.get("null_epochs", 0))))
