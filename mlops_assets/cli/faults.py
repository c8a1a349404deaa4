"""How a command ends that did not do what it was asked."""


class CommandError(Exception):
    """A command cannot do what it was asked; the sentence says why and the way out."""


class StoppedError(Exception):
    """Somebody stopped a command; the sentence says what becomes of its work."""
