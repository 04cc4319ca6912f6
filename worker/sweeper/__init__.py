"""The sweeper: a small process beside each worker, which says that the worker lives and sweeps when it is due."""
