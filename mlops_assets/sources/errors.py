"""What a source fails by: for good, or for now."""


class SourceError(ValueError):
    """A source cannot be read as a whole: one sentence with the place, the fault and the remedy."""


class SourceUnavailableError(SourceError):
    """A source does not answer now and may later: to be tried again, as no other fault is."""
