"""The error that the zoo raises on purpose."""

from __future__ import annotations


class ZooError(Exception):
    """An architecture, its parameters, a card or a checkpoint is wrong; the message names the remedy."""
