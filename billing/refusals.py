"""What the control plane of the books refuses, each in a class of its own; the message says what to do."""


class NotFound(LookupError):
    """No row has that id."""


class AlreadyExists(ValueError):
    """An id or a secret that another row has."""


class Conflict(ValueError):
    """What is asked does not fit the row's present state."""


class Stale(ValueError):
    """Somebody changed the row since it was read."""


class Invalid(ValueError):
    """A field or a column that does not exist."""
