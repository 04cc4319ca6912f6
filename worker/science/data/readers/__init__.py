"""One dataset layout a file."""
