"""Everything that measures look at, gathered from one candidate on one target."""
