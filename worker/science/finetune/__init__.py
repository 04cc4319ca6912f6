"""Training on the target: one loop, methods as data plus functions."""
