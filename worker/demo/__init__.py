"""The demo: a small zoo of real checkpoints, trained here, ranked through the service."""

from service.process import packages

if _lacking := packages.what_a_worker_lacks():  # before anything imports torch
    raise SystemExit(_lacking)
