"""`python -m service.supervisor`: serve the API and the pages, with a worker, until stopped."""

from __future__ import annotations

import logging

from service.settings import settings_or_exit, write_privately
from service.supervisor import serve


def main() -> int:
    """Serve by the settings of this process; the exit status."""
    config = settings_or_exit()
    write_privately()
    logging.basicConfig(format="%(levelname)s: %(message)s", level=config.log_level)
    return serve.run(config)


if __name__ == "__main__":
    raise SystemExit(main())
