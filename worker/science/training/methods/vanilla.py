"""Vanilla finetuning: every weight, no change to the network."""

from __future__ import annotations

from worker.science.training.method import Method, register

VANILLA = register(Method("vanilla", "all weights, nothing added"))
