"""The worker: a Celery prefork parent that never imports torch, one child a device, and the beat tick."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module

from billiard import current_process
from celery import Celery
from celery.signals import worker_process_init, worker_shutting_down

from service import queue
from service.settings import settings
from worker import stopping
from worker.devices import device_names, take

# Imported in the child, on the first call: the parent forks, and what it imported could not be used after.
TASKS = {
    queue.INSPECT_DATASET: "worker.tasks.datasets:inspect_dataset",
    queue.PREFLIGHT_CHECKPOINT: "worker.tasks.checkpoints:preflight_checkpoint",
    queue.SCORE_CANDIDATE: "worker.tasks.rankings:score_candidate",
    queue.RUN_FINETUNE: "worker.tasks.finetune_runs:run_finetune",
    queue.SWEEP: "worker.tasks.sweep:sweep",
}


def deferred(target: str) -> Callable[..., None]:
    """A function that imports `module:function` when it is called."""
    module, function = target.split(":")

    def call(*args: str) -> None:
        getattr(import_module(module), function)(*args)

    return call


def register_tasks(app: Celery) -> Celery:
    """Every task by its name."""
    for name, target in TASKS.items():
        app.task(name=name)(deferred(target))
    return app


def start_child(**_: object) -> None:
    """In a fresh child: take its device, import the science, publish what it can do."""
    logging.basicConfig(level=settings().log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    take(getattr(current_process(), "index", 0))
    for target in TASKS.values():
        import_module(target.split(":")[0])
    try:
        import_module("worker.publish").publish()
    except Exception:  # a child that raises here is never used; the sweep publishes later
        logging.getLogger(__name__).exception("could not publish what this worker can do; the sweep tries again")


def main() -> None:
    """Run until stopped."""
    worker_process_init.connect(start_child)
    worker_shutting_down.connect(stopping.request)
    app = register_tasks(queue.app())
    app.worker_main(
        [
            "worker",
            "--pool=prefork",
            f"--concurrency={len(device_names())}",
            "--beat",
            f"--loglevel={settings().log_level}",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )


if __name__ == "__main__":
    main()
