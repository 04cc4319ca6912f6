"""One file an architecture; importing the file registers it."""
