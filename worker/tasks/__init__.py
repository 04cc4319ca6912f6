"""Claim, compute, record: the only link between the store and science."""
