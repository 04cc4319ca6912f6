"""The worker: a Celery prefork parent that never imports torch, one child a device, and a sweeper beside it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from threading import Thread

from billiard import current_process
from celery import Celery
from celery.signals import worker_process_init, worker_shutting_down

from service import jobs, queue
from service.jobs.kinds import KINDS
from service.process import lifeline, packages
from service.settings import settings, write_privately
from worker import deaths, pulse, stopping
from worker.devices import device_names, take
from worker.sweeper.watch import SweeperWatch

TURN = "worker.tasks.turn.take_turn"


def tasks() -> dict[str, str]:
    """Name of every task -> dotted name of its function: a turn for each kind of job."""
    return {kind.table.job: TURN for kind in KINDS}


def deferred(name: str) -> Callable[..., None]:
    """A function that imports the one of this dotted name when it is called.

    The child imports on its first call: the parent forks, and what it had imported could not be used in a child.
    """
    module, _, function = name.rpartition(".")

    def call(*args: str) -> None:
        getattr(import_module(module), function)(*args)

    return call


def register_tasks(app: Celery) -> Celery:
    """Give this app, and no other of the process, every task under its name."""
    for name, function in tasks().items():
        app.task(name=name, shared=False, Request="worker.deaths:JobRequest")(deferred(function))
    return app


def start_child(**_: object) -> None:
    """In a fresh child: take its device, import the science, publish what it can do."""
    logging.basicConfig(level=settings().log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    pulse.start()
    take(getattr(current_process(), "index", 0))
    for name in (*tasks(), TURN):
        import_module(name.rpartition(".")[0])
    Thread(target=import_module("worker.publish").publish_until_done, name="publish", daemon=True).start()


def main() -> None:
    """Run until stopped."""
    lifeline.end_with_parent()
    write_privately()
    if lacking := packages.what_a_worker_lacks():
        raise SystemExit(lacking)
    _refuse_newer_database()
    sweeper = SweeperWatch()
    sweeper.start()
    deaths.listen(sweeper.tell_death)
    deaths.watch_for_standstill()
    try:
        _work()
    finally:
        sweeper.stop()


def _refuse_newer_database() -> None:
    try:
        jobs.refuse_newer()
    except jobs.NewerDatabaseError as error:
        raise SystemExit(str(error)) from None


def _work() -> None:
    worker_process_init.connect(start_child)
    worker_shutting_down.connect(stopping.request)
    app = register_tasks(queue.app())
    app.worker_main(
        [
            "worker",
            "--pool=prefork",
            f"--concurrency={len(device_names())}",
            f"--loglevel={settings().log_level}",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )


if __name__ == "__main__":
    main()
