"""The evidence that measures are computed from, gathered from one candidate on one target."""
