"""Checkpoints: what is ranked."""
