"""`python -m service.supervisor [--no-worker]`: serve the API and the pages, with a worker, until stopped."""

from __future__ import annotations

import logging
import sys

from service.settings import settings_or_exit, write_privately
from service.supervisor import serve

WITHOUT_WORKER = "--no-worker"


def main() -> int:
    """Serve by the settings of this process; the exit status."""
    config = settings_or_exit()
    write_privately()
    logging.basicConfig(format="%(levelname)s: %(message)s", level=config.log_level)
    return serve.run(config, with_worker=WITHOUT_WORKER not in sys.argv[1:])


if __name__ == "__main__":
    raise SystemExit(main())
