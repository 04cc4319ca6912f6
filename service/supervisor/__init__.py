"""Processes on one machine: the API, a worker, and the embedded broker."""
