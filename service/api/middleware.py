"""The outermost layer: security headers on every answer, a limit on every body."""

from __future__ import annotations

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.errors import MEDIA_TYPE, TooLargeError

BODY_LIMIT = 1_000_000
LARGER_LIMITS = {"/v1/outcomes": 16_000_000}  # an import of many rows
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


class Edge:
    """ASGI middleware: security headers for every answer; a body over its limit is refused before it is read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        limit = LARGER_LIMITS.get(scope["path"], BODY_LIMIT)
        messages = [] if scope["method"] in ("GET", "HEAD") else await _body(scope, receive, limit)
        if messages is None:
            await _too_large(limit)(scope, receive, send_with_headers)
            return
        waiting = iter(messages)

        async def replay() -> Message:
            return next(waiting, None) or await receive()

        await self._app(scope, replay, send_with_headers)


async def _body(scope: Scope, receive: Receive, limit: int) -> list[Message] | None:
    declared = Headers(scope=scope).get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        return None
    messages: list[Message] = []
    size = 0
    while True:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if size > limit:
            return None
        if message["type"] != "http.request" or not message.get("more_body"):
            return messages


def _too_large(limit: int) -> JSONResponse:
    error = TooLargeError(
        f"the body has more than {limit} bytes",
        remedy="send less, rows in several requests; files are registered by URI, never sent",
    )
    return JSONResponse(error.problem().model_dump(), error.status, media_type=MEDIA_TYPE)
