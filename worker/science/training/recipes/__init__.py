"""Pretext recipes, one file each: data plus functions for the one training loop."""
