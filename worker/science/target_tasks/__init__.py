"""One target task a file: what its labels are, how it is trained and how it is judged."""
