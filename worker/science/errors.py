"""The one error that science raises on purpose."""


class ScienceError(Exception):
    """Input that can't be computed with; the message names the field and the remedy."""


class NotApplicableError(ScienceError):
    """A measure that has no meaning for this candidate or target; the message is the reason."""
