"""What `limits` says, of a key, a team, a model or the configuration: requests and tokens a minute, requests at once.

Documents are checked where people send them. Here one is read that is kept already, perhaps by another release.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from billing.refusals import Invalid

NAMES: Final = ("requests_per_minute", "tokens_per_minute", "concurrency_max")
MODELS: Final = "models"
# So that an hour's worth of it still fits 63 bits, counted in sixty-millionths.
LIMIT_MAX: Final = 10**9


@dataclass(frozen=True, slots=True)
class Limit:
    """None: no bound. 0 lets nothing through."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency_max: int | None = None


UNLIMITED: Final = Limit()


@dataclass(frozen=True, slots=True)
class Limits:
    """A limit on everything, and limits on models by pattern: all models that a pattern matches share its limit."""

    whole: Limit
    models: tuple[tuple[str, Limit], ...] = ()


NO_LIMITS: Final = Limits(UNLIMITED)


def limits_of(document: Mapping[str, object]) -> Limits:
    """Of a document that is kept: what cannot be read in it limits nothing."""
    models = document.get(MODELS)
    patterns = models if isinstance(models, Mapping) else {}
    read = tuple((str(pattern), _kept(part)) for pattern, part in patterns.items() if isinstance(part, Mapping))
    return Limits(_kept(document), tuple(each for each in read if each[1] != UNLIMITED))


def with_defaults(limit: Limit, defaults: Limit) -> Limit:
    """The defaults where the limit says nothing."""
    return Limit(
        _either(limit.requests_per_minute, defaults.requests_per_minute),
        _either(limit.tokens_per_minute, defaults.tokens_per_minute),
        _either(limit.concurrency_max, defaults.concurrency_max),
    )


def _either(own: int | None, default: int | None) -> int | None:
    return default if own is None else own


def _kept(document: Mapping[str, object]) -> Limit:
    return Limit(
        _number(document.get("requests_per_minute")),
        _number(document.get("tokens_per_minute")),
        _number(document.get("concurrency_max")),
    )


def _number(value: object) -> int | None:
    return min(value, LIMIT_MAX) if type(value) is int and value >= 0 else None


def demand_limits(document: object, *, of_model: bool = False) -> None:
    """Of a document that is to be kept. A limit of a model has no models of its own."""
    if not isinstance(document, Mapping):
        raise Invalid("limits are given by name: send {} for none")
    known = NAMES if of_model else (*NAMES, MODELS)
    for name, value in document.items():
        if name not in known:
            raise Invalid(f"{name!r} is no limit: use {', '.join(known)}")
        if name == MODELS:
            if not isinstance(value, Mapping):
                raise Invalid("limits of models are given by model: send {} for none")
            for part in value.values():
                demand_limits(part, of_model=True)
        elif value is not None and not (type(value) is int and 0 <= value <= LIMIT_MAX):
            raise Invalid(f"{name} cannot be {value!r}: give a whole number from 0 to {LIMIT_MAX}, or none at all")
