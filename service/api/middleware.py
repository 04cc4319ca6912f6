"""The outermost layer: who may ask, a bounded body, security headers on every answer."""

from __future__ import annotations

import anyio
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.bodies import Bodies
from service.api.errors import MEDIA_TYPE, ServiceError, TooManyError
from service.api.hosts import Hosts
from service.settings import private_folder, settings

BODY_LIMIT = 1_000_000
LARGER_LIMITS = {"/v1/outcomes": 16_000_000}  # an import of many rows
LARGE_AT_ONCE = 2  # bodies over BODY_LIMIT that are worked on; others wait on disk
MOST_AT_ONCE = 40  # requests that are worked on: as many as there are threads
PATIENCE = 5.0  # seconds that a further request waits for one of them to end
_WITHOUT_WAITING = ("/healthz", "/static/")  # answered without a thread and a database
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


class Edge:
    """ASGI middleware: refuses foreign hosts and pages, and bodies that are too large, too slow or too many."""

    def __init__(self, app: ASGIApp) -> None:
        config = settings()
        self._app = app
        self._hosts = Hosts(config)
        self._bodies = Bodies(private_folder(config.data_dir), seconds=config.body_seconds)
        self._places = anyio.Semaphore(MOST_AT_ONCE)
        self._large = anyio.Semaphore(LARGE_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _with_headers(send)
        fault = self._hosts.fault(scope["method"], Headers(scope=scope))
        if fault is not None:
            await _refusal(fault)(scope, receive, answer)
        elif scope["path"].startswith(_WITHOUT_WAITING):
            await self._app(scope, receive, answer)
        elif scope["method"] in ("GET", "HEAD"):
            await self._in_turn(scope, receive, answer)
        else:
            await self._with_body(scope, receive, answer)

    async def _in_turn(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; with too many before it for too long, refuse it instead."""
        with anyio.move_on_after(PATIENCE) as waiting:
            await self._places.acquire()
        if waiting.cancelled_caught:
            error = TooManyError(
                "too many requests wait for the database", remedy="send it again in a few seconds; see /readyz"
            )
            await _refusal(error)(scope, receive, send)
            return
        place = _Place(self._places)
        try:
            await self._app(scope, receive, place.left_when_answered(send))
        finally:
            place.leave()

    async def _with_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = LARGER_LIMITS.get(scope["path"], BODY_LIMIT)
        try:
            async with self._bodies.received(scope, receive, limit=limit) as body:
                if body.size <= BODY_LIMIT:
                    await self._in_turn(scope, body.replayed(receive), send)
                    return
                async with self._large:
                    await self._in_turn(scope, body.replayed(receive), send)
        except ServiceError as error:  # the application's own are answered inside of it
            await _refusal(error)(scope, receive, send)


class _Place:
    """A place that was taken; it is left once."""

    def __init__(self, places: anyio.Semaphore) -> None:
        self._places = places
        self._left = False

    def left_when_answered(self, send: Send) -> Send:
        """The same `send`, which leaves the place as the answer begins.

        By then the endpoint is over, and with it its thread and its session: what is left is to send the answer,
        for which a slow reader may take as long as it likes.
        """

        async def send_without_place(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.leave()
            await send(message)

        return send_without_place

    def leave(self) -> None:
        """Give the place to the next request."""
        if not self._left:
            self._left = True
            self._places.release()


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers


def _refusal(error: ServiceError) -> JSONResponse:
    """The problem; the connection is closed, since the rest of the body may still be on its way."""
    headers = {"Connection": "close", **error.headers}
    return JSONResponse(error.problem().model_dump(), error.status, headers, media_type=MEDIA_TYPE)
