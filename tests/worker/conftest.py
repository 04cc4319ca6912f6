"""What tests of the worker share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from worker.reading.reader import Reader


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    """One reading process for all tests of a module; it takes seconds to start."""
    own = Reader()
    yield own
    own.close()
