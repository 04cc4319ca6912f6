"""The embedded broker: kombu's folder of files, each of which appears complete or not at all."""

from __future__ import annotations

import fcntl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold a lock against every other process; it ends with the process that holds it."""
    with file.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def next_number(last: Path, messages: Path) -> int:
    """The number of the next message, one more than the last one's, which the file `last` keeps.

    No clock decides the order of messages, so neither a reboot nor a clock that is set back changes it. Where the
    file is lost, the messages that are still there say what the last number was.
    """
    try:
        number = int(last.read_text()) + 1
    except (FileNotFoundError, ValueError):
        number = 1 + max((_number(file.name) for file in messages.iterdir()), default=0)
    write_whole(last, number)
    return number


def _number(name: str) -> int:
    digits = name.partition("_")[0]
    return int(digits) if digits.isdecimal() else 0


class Channel(filesystem.Channel):
    """A channel whose files appear whole: kombu writes after opening, and a worker could read half a message."""

    def _put(self, queue: str, payload: Any, **_: Any) -> None:
        folder = Path(self.data_folder_out)
        with _locked(self.control_folder / "number.lock"):
            number = next_number(self.control_folder / "number", folder)
            write_whole(folder / f"{number:020d}_{uuid.uuid4()}.{queue}.msg", payload)

    def _get(self, queue: str) -> Any:
        try:
            return super()._get(queue)
        except ValueError as error:  # a message that is no JSON is lost; the sweep sends again
            raise Empty from error

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        bound = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        with _locked(self.control_folder / "binding.lock"):
            bindings = self.get_table(exchange)
            if bound not in bindings:
                write_whole(self.control_folder / f"{exchange}.exchange", [bound, *bindings])


class Transport(filesystem.Transport):
    """The transport that Celery's setting `broker_transport` names."""

    Channel = Channel
