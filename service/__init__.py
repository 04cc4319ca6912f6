"""The service: HTTP in, rows and messages out; runs without torch."""
