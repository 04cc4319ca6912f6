"""Who may speak to the service: the names it is known by, and pages that are its own.

Listening on loopback keeps other machines out, but not the pages of other sites: a browser on this machine sends
their requests too. A page on a name of its own that resolves to this machine (DNS rebinding) is known by the
`Host` header, a form or script of another site by `Sec-Fetch-Site` or `Origin`. Programs send neither of the two.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from service.api.errors import ForbiddenError, MisdirectedError, ServiceError
from service.settings import Settings

ANY = "*"
_READING = ("GET", "HEAD", "OPTIONS")
_OWN_PAGES = ("same-origin", "none")  # none: the user typed the address or used a bookmark
_log = logging.getLogger(__name__)


class Hosts:
    """The hosts that requests may name, by the settings."""

    def __init__(self, config: Settings) -> None:
        self._listens_openly = not _is_loopback(config.host)
        own = {config.host.lower(), socket.gethostname().lower()} if self._listens_openly else set()
        self._named = {host.lower() for host in config.allowed_hosts}
        self._known = self._named | own

    def fault(self, method: str, headers: Headers) -> ServiceError | None:
        """Why this request is refused; None when it may pass."""
        host = headers.get("host")
        if host is not None and not self._is_known(_name_of(host)):
            return MisdirectedError(
                f"this service does not answer for the host {host[:200]!r}",
                field="Host",
                remedy="use the address it was started with, or add this name to ZOORANK_ALLOWED_HOSTS",
            )
        if method not in _READING and self._is_foreign(headers):
            return ForbiddenError(
                "a page of another site may not change anything here",
                field="Origin",
                remedy="send it from this service's own pages or from a program; a proxy's name is added to "
                "ZOORANK_ALLOWED_HOSTS",
            )
        return None

    def _is_known(self, name: str) -> bool:
        if name in self._known or ANY in self._known or _is_loopback(name):
            return True
        # A name can be made to resolve to this machine, an address can't.
        return self._listens_openly and _address(name) is not None

    def _is_foreign(self, headers: Headers) -> bool:
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site is not None:
            return site not in _OWN_PAGES
        if origin is None:
            return False
        try:
            parts = urlsplit(origin)
        except ValueError:  # nobody's own page has such an address
            return True
        own = parts.netloc.lower() == (headers.get("host") or "").lower()
        return not own and (parts.hostname or "") not in self._named


def warn_if_open(config: Settings) -> None:
    """Say in the log that other machines can reach the service, which asks nobody who they are."""
    if not _is_loopback(config.host):
        _log.warning(
            "listening on %s: whoever reaches this address can read and change everything, since there is no "
            "log-in; keep it on 127.0.0.1, or behind a proxy that has one",
            config.host,
        )


def _name_of(host: str) -> str:
    """The host without its port, and without the brackets of an IPv6 address."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return None


def _is_loopback(name: str) -> bool:
    address = _address(name)
    return name.lower() == "localhost" if address is None else address.is_loopback
