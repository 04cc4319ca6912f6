"""HTML: the only room that renders it."""
