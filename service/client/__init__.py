"""The user's side: an HTTP client for scripts, the terminal, and rows from files."""

from service.client.http import ClientError, ProblemError, UnreachableError, ZooRank

__all__ = ["ClientError", "ProblemError", "UnreachableError", "ZooRank"]
