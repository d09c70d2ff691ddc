"""The one error of the command line."""


class Refused(Exception):  # noqa: N818 - what a command answers, not what went wrong inside it
    """It cannot be done; the text is one line that says why and what to do. Exit status 1."""
