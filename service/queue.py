"""The Celery app. A message carries a task name and a row id; the database is the queue of record."""

from __future__ import annotations

import logging

from celery import Celery
from kombu.exceptions import OperationalError

from service.settings import Settings, settings

QUEUE = "zoorank"
MESSAGE_LIFETIME = 10  # in units of resend_seconds
_log = logging.getLogger(__name__)


def make_app(config: Settings) -> Celery:
    """A Celery app on the configured broker: early acknowledgement, no result backend, JSON only."""
    app = Celery("zoorank", broker=config.broker)
    if embedded(config):
        app.conf.broker_transport = "service.supervisor.embedded_broker:Transport"
    app.conf.update(
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=False,
        task_time_limit=config.task_seconds,
        worker_prefetch_multiplier=1,
        worker_proc_alive_timeout=300,  # a child imports torch before it reports
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options=_transport_options(config),
    )
    return app


def embedded(config: Settings) -> bool:
    """Whether the broker is the folder of files."""
    return config.broker.startswith("filesystem")


def _transport_options(config: Settings) -> dict[str, object]:
    if not embedded(config):
        # A sender gives up within 3 s when the broker is away or hangs, and does not try again: the sweep sends
        # again. A worker asks for messages every second, so the same time tells it that the broker hangs.
        return {"socket_connect_timeout": 1, "socket_timeout": 1.9, "max_retries": 0, "interval_start": 0}
    messages, control = config.broker_dir / "messages", config.broker_dir / "control"
    for folder in (messages, control):
        folder.mkdir(parents=True, exist_ok=True)
    return {
        "data_folder_in": str(messages),
        "data_folder_out": str(messages),
        "control_folder": str(control),
        "polling_interval": 0.2,
    }


_apps: dict[str, Celery] = {}


def app() -> Celery:
    """The Celery app of this process."""
    if "app" not in _apps:
        _apps["app"] = make_app(settings())
    return _apps["app"]


def send(task: str, row_id: str) -> bool:
    """Send a message for one row; False when the broker is away, which costs a delay: the sweep sends again."""
    try:
        # By then the sweep has sent newer messages for this row.
        expires = settings().resend_seconds * MESSAGE_LIFETIME
        app().send_task(task, args=[row_id], retry=False, expires=expires)
        return True
    except (OperationalError, OSError) as error:
        _log.warning("%s for %s was not sent and waits for the sweep: %s", task, row_id, type(error).__name__)
        return False
