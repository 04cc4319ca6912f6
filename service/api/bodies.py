"""Reading the body of a request: bounded in size, in time, and together with all others.

A body waits on disk until it is whole, so that slow clients cost no memory.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from service.api.errors import SlowBodyError, TooLargeError, TooManyError, UnavailableError

IN_MEMORY = 64 * 1024  # bytes of one body; more are on disk
CHUNK = 64 * 1024  # bytes that the application gets at once
MOST_AT_ONCE = 256 * 1024 * 1024  # bytes of all bodies together


class Body:
    """One body, received and read once."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY, dir=str(folder))  # noqa: SIM115 - closed by Bodies
        self.size = 0
        self._left = 0
        self.disconnected = False

    def add(self, chunk: bytes) -> None:
        """Append what has arrived; UnavailableError where the disk does not take it."""
        with _writing():
            self._file.write(chunk)
        self.size += len(chunk)

    def rewind(self) -> None:
        """Begin to read; UnavailableError where the disk does not take what was added last."""
        with _writing():
            self._file.seek(0)
        self._left = self.size

    def replayed(self, receive: Receive) -> Receive:
        """The messages of this body, then whatever comes from `receive`."""
        over = False

        async def messages() -> Message:
            nonlocal over
            if over or self.disconnected:
                return {"type": "http.disconnect"} if self.disconnected else await receive()
            chunk = self._file.read(CHUNK)
            self._left -= len(chunk)
            over = self._left <= 0
            return {"type": "http.request", "body": chunk, "more_body": not over}

        return messages

    def close(self) -> None:
        """Give the memory or the file back."""
        with suppress(OSError):  # closing tries to write again what the disk did not take
            self._file.close()


class Bodies:
    """All bodies that are being received or worked on."""

    def __init__(self, folder: Path, *, seconds: float, most_at_once: int = MOST_AT_ONCE) -> None:
        self._folder = folder
        self._seconds = seconds
        self._most_at_once = most_at_once
        self._held = 0

    @asynccontextmanager
    async def received(self, scope: Scope, receive: Receive, *, limit: int) -> AsyncIterator[Body]:
        """The whole body; a ServiceError that says why when it can't be taken."""
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        body = Body(self._folder)
        try:
            async with asyncio.timeout(self._seconds):
                await self._receive(body, receive, limit)
        except TimeoutError:
            self._drop(body)
            raise SlowBodyError(
                f"the body did not arrive within {self._seconds:g} s",
                remedy="send it faster, or less at once; ZOORANK_BODY_SECONDS sets this time",
            ) from None
        except BaseException:
            self._drop(body)
            raise
        try:
            yield body
        finally:
            self._drop(body)

    async def _receive(self, body: Body, receive: Receive, limit: int) -> None:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                body.disconnected = True
                return
            self._take(body, message.get("body", b""), limit)
            if not message.get("more_body"):
                body.rewind()
                return

    def _take(self, body: Body, chunk: bytes, limit: int) -> None:
        if body.size + len(chunk) > limit:
            raise _too_large(limit)
        if self._held + len(chunk) > self._most_at_once:
            raise TooManyError(
                "too many large requests are under way", remedy="send it again in a few seconds, or less at once"
            )
        body.add(chunk)
        self._held += len(chunk)

    def _drop(self, body: Body) -> None:
        self._held -= body.size
        body.close()


@contextmanager
def _writing() -> Iterator[None]:
    """Make a failure to write an UnavailableError that names the disk."""
    try:
        yield
    except OSError as error:
        raise UnavailableError(
            f"the body could not be written to the data folder ({error.strerror})",
            remedy="make room on the disk of the data folder, or repair its permissions, then send it again",
        ) from error


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(
        f"the body has more than {limit} bytes",
        remedy="send less, rows in several requests; files are registered by URI, never sent",
    )
