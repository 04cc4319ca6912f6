"""The version of the code that computes scores."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import models_zoo
from worker import science


@lru_cache
def science_version() -> str:
    """Digest of every source file of worker.science and models_zoo, which changes whenever the code does."""
    digest = hashlib.sha256()
    for package in (science, models_zoo):
        root = Path(str(package.__file__)).parent
        for file in sorted(root.rglob("*.py")):
            digest.update(str(file.relative_to(root)).encode() + file.read_bytes())
    return digest.hexdigest()[:16]
