"""The one error of the command line."""

from __future__ import annotations


class Refused(Exception):
    """It cannot be done; the text is one line that says why and what to do. Exit status 1.

    `status` is the admin API's, where it was that which refused.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
