"""The one error of the command line."""


class Refused(Exception):
    """It cannot be done; the text is one line that says why and what to do. Exit status 1."""
