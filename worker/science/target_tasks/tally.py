"""From a network's outputs and labels, batch by batch, to metrics and a value for each image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Judged:
    """Metrics over all images, and the primary metric of each image (empty where an image alone has none)."""

    metrics: dict[str, float]
    cases: list[float]


class Tally(Protocol):
    """Counts every batch (`update`); `compute` then gives the metrics of all of them."""

    def update(self, outputs: Tensor, labels: Tensor) -> None:
        """Count one batch: raw outputs (B, outputs) or (B, outputs, [D,] H, W) and labels as the loader gives."""

    def compute(self) -> Judged:
        """Metrics of everything that was counted."""


class RowTally:
    """Keeps one row of outputs per image, and judges all rows at once."""

    def __init__(self, judge: Callable[[Tensor, Tensor], Judged]) -> None:
        self._judge = judge
        self._outputs: list[Tensor] = []
        self._labels: list[Tensor] = []

    def update(self, outputs: Tensor, labels: Tensor) -> None:
        """Keep one batch."""
        self._outputs.append(outputs)
        self._labels.append(labels)

    def compute(self) -> Judged:
        """Metrics of all rows."""
        return self._judge(torch.cat(self._outputs), torch.cat(self._labels))
