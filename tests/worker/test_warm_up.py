"""Warm-up trains new layers first, with everything from the source as it was, and then every weight."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from tests.worker.targets import candidate, finetuned, target, unet_file
from worker.science.specs import FinetuneProtocol
from worker.science.training.method import methods
from worker.science.training.state import TrainingState

HEAD = "out_tr.final_conv"


def states(folder: Path, method: str, *, epochs: int, share: float | None = None) -> list[TrainingState]:
    """The state before the first epoch is missing: what the file holds is the source."""
    protocol = FinetuneProtocol(epochs=epochs, patience=epochs, learning_rate=5e-3, weight_decay=1e-3)
    made = candidate(unet_file(folder), target(), protocol)
    kept: list[TrainingState] = []
    options = {} if share is None else {"share": share}
    finetuned(
        made,
        methods()[method],
        options=options,
        after_epoch=kept.append,
    )
    return kept


def source(folder: Path) -> dict[str, Tensor]:
    return dict(candidate(unet_file(folder), target()).network.module.state_dict())


def changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> set[str]:
    return {key for key in before if not torch.equal(before[key], after[key])}


def test_while_it_warms_up_only_the_head_changes_and_then_all(tmp_path: Path) -> None:
    before = source(tmp_path)
    first, second, third = states(tmp_path, "warm_up", epochs=3, share=2 / 3)
    head = {f"{HEAD}.weight", f"{HEAD}.bias"}
    assert changed(before, first.network) == head
    assert changed(first.network, second.network) == head
    assert changed(second.network, third.network) == set(before)


def test_by_default_it_takes_a_sixteenth_of_the_epochs_and_one_at_least(tmp_path: Path) -> None:
    first, second = states(tmp_path, "warm_up", epochs=2)
    assert f"{HEAD}.weight" in changed(source(tmp_path), first.network)
    assert "down_tr64.ops.0.bn1.running_mean" not in changed(source(tmp_path), first.network)
    assert changed(first.network, second.network) == set(first.network)


def test_without_warm_up_epochs_it_is_vanilla_to_the_last_bit(tmp_path: Path) -> None:
    vanilla, without = (states(tmp_path, name, epochs=2, share=share) for name, share in WITHOUT)
    for plain, ours in zip(vanilla, without, strict=True):
        assert not changed(plain.network, ours.network)
        assert not changed(plain.optimizer, ours.optimizer)


WITHOUT = (("vanilla", None), ("warm_up", 0.0))


def test_the_heads_optimiser_state_survives_the_change_of_phase(tmp_path: Path) -> None:
    first, second = states(tmp_path, "warm_up", epochs=2, share=0.5)
    positions = {key.partition("/")[0] for key in first.optimizer}
    assert len(positions) == 2  # weight and bias of the head: nothing else was stepped
    steps = {key: int(value) for key, value in second.optimizer.items() if key.endswith("/step")}
    per_epoch = int(first.optimizer[f"{min(positions)}/step"])
    assert {steps[f"{position}/step"] for position in positions} == {2 * per_epoch}
    others = {count for key, count in steps.items() if key.partition("/")[0] not in positions}
    assert others == {per_epoch}
