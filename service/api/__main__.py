"""`python -m service.api [DESCRIPTOR]`: the API as a process, on the socket of this descriptor or its own."""

from __future__ import annotations

import socket
import sys

import uvicorn

from service.process import lifeline
from service.settings import settings_or_exit, write_privately
from service.store import migrate

_GRACE_SECONDS = 5  # for open requests, once it is asked to stop


def main(descriptor: int | None = None) -> None:
    """Serve until SIGTERM, SIGINT or the end of the parent."""
    lifeline.end_with_parent()
    config = settings_or_exit()
    write_privately()
    try:
        migrate.refuse_newer()
    except migrate.NewerDatabaseError as error:
        raise SystemExit(str(error)) from None
    server = uvicorn.Server(
        uvicorn.Config(
            "service.api.app:create_app",
            factory=True,
            host=config.host,
            port=config.port,
            log_level=config.log_level.lower(),
            access_log=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )
    server.run(sockets=None if descriptor is None else [socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else None)
