"""The embedded broker: kombu's folder of files, each of which appears complete or not at all."""

from __future__ import annotations

import fcntl
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps


def write_whole(file: Path, content: Any) -> None:
    """Write under another name, then rename, so that no reader sees half a file."""
    partial = file.with_name(f"{uuid.uuid4()}.part")
    partial.write_text(dumps(content))
    partial.rename(file)


class Channel(filesystem.Channel):
    """A channel whose files appear whole: kombu writes after opening, and a worker could read half a message."""

    def _put(self, queue: str, payload: Any, **_: Any) -> None:
        moment = round(time.monotonic() * 1000)
        write_whole(Path(self.data_folder_out) / f"{moment}_{uuid.uuid4()}.{queue}.msg", payload)

    def _get(self, queue: str) -> Any:
        try:
            return super()._get(queue)
        except ValueError as error:  # a message that is no JSON is lost; the sweep sends again
            raise Empty from error

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        bound = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        with (self.control_folder / "binding.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            bindings = self.get_table(exchange)
            if bound not in bindings:
                write_whole(self.control_folder / f"{exchange}.exchange", [bound, *bindings])


class Transport(filesystem.Transport):
    """The transport that Celery's setting `broker_transport` names."""

    Channel = Channel
