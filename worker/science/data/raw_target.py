"""What a reader takes out of a file, before anything is checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class RawTarget:
    """A target dataset's arrays as the file stores them; None for what the file leaves out.

    images: (N, [D,] H, W[, C]); labels: whatever the target task takes from its field; split and groups: (N,);
    spacing: millimetres along each axis, of all images or one row for each.
    """

    images: NDArray[Any]
    labels: NDArray[Any]
    split: NDArray[Any] | None = None
    groups: NDArray[Any] | None = None
    spacing: NDArray[Any] | None = None
