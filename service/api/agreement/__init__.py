"""Agreement: how well the scores of every measure agree with the outcomes in the ledger."""
