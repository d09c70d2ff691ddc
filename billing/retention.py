"""Drops log rows of requests that are older than is kept, a few hundred to a transaction, so that no writer waits long.

Entries of the ledger are never dropped; a request's page goes with its log row.
"""

from typing import Final

from sqlalchemy import Engine

from billing.database import writing
from billing.queries import corrections as q

ROWS_IN_ONE: Final = 500
DAY_US: Final = 86_400_000_000


def drop_old_requests(engine: Engine, requests_days: int, now_at_us: int, rows_in_one: int = ROWS_IN_ONE) -> int:
    """To be run hourly by one worker, on a thread. Answers how many rows went."""
    before_at_us = now_at_us - requests_days * DAY_US
    dropped, after = 0, ""
    while True:
        # Ids are in the order of time: the walk begins with the oldest and ends where a stretch has nothing old.
        with writing(engine).begin() as tx:
            gone, following = q.drop_requests(tx, before_at_us, after, rows_in_one)
        dropped += gone
        if following is None:
            return dropped
        after = following
