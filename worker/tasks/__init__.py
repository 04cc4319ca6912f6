"""Claim, compute, record: the only link between the queue of record and science."""
