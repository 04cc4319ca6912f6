"""Class probabilities of the checkpoint's own head on the target, for LEEP and NCE."""

from __future__ import annotations

import torch
from torch import Tensor

from worker.science.candidate import Candidate
from worker.science.data.loader import TargetLoader
from worker.science.evidence.at_voxels import Voxels, images_of, labels_at, rows_at, sampled_rows
from worker.science.evidence.forward_pass import FrozenBatch
from worker.science.evidence.parts import SourceHead


class HeadCollector:
    """Probabilities over the source's classes at the rows that `FeatureCollector` keeps."""

    paths: tuple[str, ...] = ()  # the head's output is the network's

    def __init__(self, candidate: Candidate, loader: TargetLoader, voxels: Voxels | None) -> None:
        self.voxels = voxels
        self.images = images_of(loader, voxels)
        self.kind = candidate.head
        self.reason = why_unusable(candidate)
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []

    def update(self, batch: FrozenBatch) -> None:
        """Keep the logits of one batch, (B, C_s) or at the sampled voxels."""
        if self.voxels is None:
            self._labels.append(batch.labels)
            self._keep(batch.logits)
            return
        for row, places in sampled_rows(batch, self.voxels):
            self._labels.append(labels_at(places, batch.labels[row]))
            self._keep(rows_at(batch.logits[row], places, batch))

    def _keep(self, logits: Tensor) -> None:
        if self.reason is None:
            self._logits.append(logits.double().cpu())

    def compute(self) -> SourceHead:
        """All rows; without probabilities where the head names no classes."""
        labels = torch.cat(self._labels)
        if self.reason is not None:
            return SourceHead(None, labels, self.reason)
        logits = torch.cat(self._logits)
        if not logits.isfinite().all():
            return SourceHead(None, labels, "the source head gives NaN or infinite values on this target")
        return SourceHead(probabilities_of(logits, self.kind), labels)


def why_unusable(candidate: Candidate) -> str | None:
    """Why the source head gives no class probabilities; None when it does."""
    head, outputs = candidate.network.head, candidate.source_classes
    left = [tensor for tensor in candidate.report.reinitialised if tensor.key.startswith(f"{head}.")]
    if left:
        return f"the source head {head} is not in the checkpoint ({left[0].key}: {left[0].reason})"
    if candidate.head == "none":
        return "the checkpoint's card says that its head names no classes"
    if candidate.head == "sigmoid" and outputs > 1:
        return f"a sigmoid head of {outputs} outputs has labels that don't exclude one another"
    if candidate.head == "softmax" and outputs < 2:
        return (
            'the source head has one output; if it is a foreground probability, say head = "sigmoid" in the card'
        )
    return None


def probabilities_of(logits: Tensor, kind: str) -> Tensor:
    """(N, C_s) rows summing to 1; a sigmoid's one output (N, 1) becomes background and foreground."""
    if kind == "sigmoid":
        logits = torch.cat((torch.zeros_like(logits), logits), dim=1)
    return logits.softmax(1)
