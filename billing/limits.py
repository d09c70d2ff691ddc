"""What `limits` says, of a key, a team, a model or the configuration: requests and tokens a minute, requests at once.

Documents are checked where people send them. Here one is read that is kept already, perhaps by another release.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

REQUESTS: Final = "requests_per_minute"
TOKENS: Final = "tokens_per_minute"
CONCURRENCY: Final = "concurrency_max"
MODELS: Final = "models"
NAMES: Final = (REQUESTS, TOKENS, CONCURRENCY)
# So that an hour's worth of it still fits 63 bits, counted in sixty-millionths.
LIMIT_MAX: Final = 10**9


class Limit(NamedTuple):
    """None: no bound. 0 lets nothing through."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency_max: int | None = None


UNLIMITED: Final = Limit()


class Limits(NamedTuple):
    """A limit on everything, and limits on models by pattern: all models that a pattern matches share its limit."""

    whole: Limit = UNLIMITED
    models: tuple[tuple[str, Limit], ...] = ()


NO_LIMITS: Final = Limits()


def limits_of(document: Mapping[str, object]) -> Limits:
    """Of a document that is kept: what cannot be read in it limits nothing."""
    models = document.get(MODELS)
    patterns = models if isinstance(models, Mapping) else {}
    read = tuple((str(pattern), _kept(part)) for pattern, part in patterns.items() if isinstance(part, Mapping))
    return Limits(_kept(document), tuple(each for each in read if each[1] != UNLIMITED))


def with_defaults(limit: Limit, defaults: Limit) -> Limit:
    """The defaults where the limit says nothing."""
    if defaults == UNLIMITED:
        return limit
    return Limit(*(given if own is None else own for own, given in zip(limit, defaults, strict=True)))


def _kept(document: Mapping[str, object]) -> Limit:
    read: list[int | None] = []
    for name in NAMES:
        value = document.get(name)
        read.append(min(value, LIMIT_MAX) if type(value) is int and value >= 0 else None)
    return Limit(*read)
