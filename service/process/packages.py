"""Whether the packages of an extra are installed, without importing them."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution, requires

DISTRIBUTION = "zoorank"


def missing(extra: str) -> list[str]:
    """Packages that the extra of this distribution names and that are not installed."""
    marked = re.compile(rf"^([\w.-]+).*;.*\bextra\s*==\s*['\"]{extra}['\"]")
    found = [marked.match(line) for line in requires(DISTRIBUTION) or ()]
    return [line[1] for line in found if line and not _installed(line[1])]


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def what_a_worker_lacks() -> str | None:
    """What to say when a worker can't run here, with the remedy; None when it can."""
    lacking = missing("worker")
    if not lacking:
        return None
    return (
        f"a worker needs packages that are not installed: {', '.join(lacking)}; install them with "
        f"`pip install '{DISTRIBUTION}[worker]'`"
    )
