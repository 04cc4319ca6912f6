"""Outcomes: the rows of the ledger, own and imported, scores beside them."""
