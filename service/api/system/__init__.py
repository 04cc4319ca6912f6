"""The health checks, the overview and the page of all operations."""
