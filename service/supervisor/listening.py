"""The address of the service: bound before any process starts, so that a port that is taken is known at once."""

from __future__ import annotations

import ipaddress
import socket


class NotBoundError(Exception):
    """The service can't listen on the address; says why and what to do."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on the address; port 0 takes a free one. NotBoundError where that is not possible."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        both = family == socket.AF_INET6 and ipaddress.ip_address(address[0]).is_unspecified
        return socket.create_server(
            address[:2], family=family, backlog=2048, dualstack_ipv6=both and socket.has_dualstack_ipv6()
        )
    except OSError as error:
        raise NotBoundError(
            f"the service can't listen on {host} port {port}: {error.strerror or error}; free the port or take "
            "another one with --port (0 takes any free one), and check --host"
        ) from None


def url(listening: socket.socket) -> str:
    """Where this machine reaches the socket: loopback when it listens on every address."""
    host, port = listening.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://{address}:{port}" if address.version == 4 else f"http://[{address}]:{port}"
