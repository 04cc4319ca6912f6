"""The doorbell carries a task's name and an id, on both brokers, after the commit."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from kombu.simple import SimpleQueue

from service import queue
from service.settings import Settings
from service.store.session import transaction
from service.store.tables import Dataset
from tests.service.conftest import add_dataset


def _silent(bell: SimpleQueue) -> bool:
    try:
        bell.get(block=False)
    except bell.Empty:
        return True
    return False


@pytest.mark.parametrize("broker", ["embedded", "redis"])
def test_a_message_is_a_name_and_an_id(
    broker: str, configure: Callable[..., Settings], sqlite_url: str, request: pytest.FixtureRequest
) -> None:
    own = {"broker_url": request.getfixturevalue("redis_url")} if broker == "redis" else {}
    configure(database_url=sqlite_url, **own)
    with queue.app().connection_for_read() as connection, connection.SimpleQueue(queue.QUEUE) as bell:
        bell.clear()
        with transaction() as session:
            row = add_dataset(session, ready=False)
            assert _silent(bell)
        message = bell.get(timeout=5)
        message.ack()
        assert message.headers["task"] == Dataset.job
        assert message.payload[0] == [row.id]
        assert _silent(bell)


def test_an_embedded_message_is_whole_or_not_there(configure: Callable[..., Settings], sqlite_url: str) -> None:
    config = configure(database_url=sqlite_url)
    with queue.app().connection_for_read() as connection, connection.SimpleQueue(queue.QUEUE) as bell:
        bell.clear()
        writer = threading.Thread(target=lambda: [queue.send(Dataset.job, str(number)) for number in range(300)])
        writer.start()
        received = {bell.get(timeout=10).payload[0][0] for _ in range(300)}
        writer.join()
        assert received == {str(number) for number in range(300)}
        (config.broker_dir / "messages" / f"0_half.{queue.QUEUE}.msg").touch()  # what a power failure may leave
        assert _silent(bell)
        queue.send(Dataset.job, "after")
        assert bell.get(timeout=10).payload[0] == ["after"]
