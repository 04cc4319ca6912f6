"""Rankings: the request, and the ranked list with its evidence."""
