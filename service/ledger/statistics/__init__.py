"""Statistics of past outcomes: pure functions on numbers."""
