"""Agreement: how well every measure's scores told the outcomes in the ledger."""
