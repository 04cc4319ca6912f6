"""The demo: a small zoo of real checkpoints, trained here, ranked through the service."""
