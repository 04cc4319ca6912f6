"""The reading process: forks a child for each file that its worker sends, and says what the child found in it.

It imports everything once, reads nothing itself, and ends a child that takes too long. It gets descriptors, never
paths, over the socket that is its standard input. A request is a line of JSON beside the descriptor, and so is an
answer. It knows no secret and no database, and ends with its worker, or when nothing is asked for a while.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from typing import Any

import torch._dynamo  # noqa: F401 - a norm layer's shapes need it, and a child may write no file while it is imported

from models_zoo.architecture import architectures
from models_zoo.errors import ZooError
from models_zoo.machine import is_out_of_memory
from service.process.lifeline import get_sigterm_after
from worker.reading import limits
from worker.reading.untrusted import READINGS
from worker.science.data.readers.registry import readers
from worker.science.errors import ScienceError
from worker.tasks.reasons import reason_of

IDLE_SECONDS = 600.0  # then its memory is worth more than the seconds of the next start
LONGEST_ANSWER = 1 << 28  # bytes
Json = dict[str, Any]


def main(parent: int) -> None:
    """Answer until the worker closes its end, or asks nothing for `IDLE_SECONDS`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches the worker, which ends this process
    get_sigterm_after(parent)
    architectures(), readers()  # imported here once, not in every child
    with socket.socket(fileno=0) as worker:
        _say(worker, {"ready": True})
        while select.select([worker], [], [], IDLE_SECONDS)[0]:
            request, descriptors, _, _ = socket.recv_fds(worker, 1 << 16, 1)
            if not request:
                return
            while not request.endswith(b"\n"):
                part = worker.recv(1 << 16)
                if not part:
                    return
                request += part
            _say(worker, _answer(worker, json.loads(request), descriptors[0]))


def _answer(worker: socket.socket, request: Json, descriptor: int) -> Json:
    """What a child of its own finds in the file, or how that child ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _be_child(request, descriptor, writing)
    os.close(writing)
    os.close(descriptor)
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        found = _received(worker, pipe.fileno(), seconds=request["seconds"])
    if not found.endswith(b"\n"):
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if found.endswith(b"\n"):
        answer: Json = json.loads(found)
        return answer
    if len(found) > LONGEST_ANSWER:
        return {"reason": "uri: the file holds too much to report on; save it in smaller parts"}
    return {"too_slow": True} if found.endswith(b"?") else {"ended": os.waitstatus_to_exitcode(status)}


def _received(worker: socket.socket, pipe: int, *, seconds: float) -> bytes:
    """All that the child writes until it closes the pipe; with a ? behind it when that takes too long."""
    deadline, parts = time.monotonic() + seconds, bytearray()
    while len(parts) < LONGEST_ANSWER:
        ready = select.select([pipe, worker.fileno()], [], [], max(0.0, deadline - time.monotonic()))[0]
        if worker.fileno() in ready:  # it asks nothing before it has an answer, so it has gone
            raise SystemExit(0)
        if not ready:
            break
        part = os.read(pipe, 1 << 16)
        if not part:
            return bytes(parts)
        parts += part
    return bytes(parts) + b"?"


def _be_child(request: Json, descriptor: int, writing: int) -> None:
    """Read the file, write the answer, and end; nothing of the parent's is cleaned up here."""
    try:
        get_sigterm_after(os.getppid())
        os.close(0)
        limits.forbid_files()
        limits.allow(memory=request["memory"], seconds=request["seconds"])
        answer = json.dumps(_found(request, descriptor)).encode() + b"\n"
        while answer:
            answer = answer[os.write(writing, answer) :]
    finally:
        os._exit(0)


def _found(request: Json, descriptor: int) -> Json:
    try:
        with os.fdopen(descriptor, "rb") as stream:
            return {"found": READINGS[request["reading"]](stream, **request["arguments"])}
    except (ScienceError, ZooError) as error:
        return {"reason": reason_of(error)}
    except RecursionError:
        return {"reason": "uri: the file is nested too deeply; save plain tensors in one dictionary"}
    except Exception as error:
        if is_out_of_memory(error):
            return {"out_of_memory": True}
        errno = error.errno if isinstance(error, OSError) else None
        return {"error": type(error).__name__, "trace": traceback.format_exc(), "errno": errno}


def _say(worker: socket.socket, answer: Json) -> None:
    worker.sendall(json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
