"""What a key may know: the models it may use, with what they cost and can, and its own limits."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from billing.keys import Key
from billing.limits import Limits
from billing.price import UNPRICED, Price
from billing.scopes import Dimensions
from gateway.errors import ModelNotAllowed, ModelNotFound
from gateway.roads import Named
from gateway.services import Services

PICO_PER_USD = 1_000_000_000_000


def model_page(s: Services, key: Key) -> dict[str, Any]:
    """OpenAI's list of models: every configured name that the key may use, and the demo where there is nothing else."""
    data = []
    for name in s.roads.listed():
        named = s.roads.named(name)
        if named is not None and named.may(key):
            data.append(_view(s, key, name, named))
    return {"object": "list", "data": data}


def model_view(s: Services, key: Key, name: str) -> dict[str, Any]:
    """One model. Raises `ModelNotFound`, `ModelNotAllowed`."""
    named = s.roads.named(name)
    if named is None:
        raise ModelNotFound(f"no model is called {name[:200]!r}: GET /v1/models lists those there are", param="model")
    if not named.may(key):
        raise ModelNotAllowed(f"this key may not use the model {name!r}", param="model")
    return _view(s, key, name, named)


def _view(s: Services, key: Key, name: str, named: Named) -> dict[str, Any]:
    """OpenAI's fields, and beside them what every deployment of the name can keep: the smallest window, the dearest
    price.
    """
    roads = [s.roads.roads[deployment.id] for deployment in named.pool.deployments]
    listings = [road.listing for road in roads if road.listing is not None]
    windows = [listing.context_length for listing in listings if listing.context_length is not None]
    outputs = [listing.max_output_tokens for listing in listings if listing.max_output_tokens is not None]
    now_at_us = s.clock()
    able = [set(listing.capabilities) for listing in listings]
    providers = sorted({deployment.provider for deployment in named.pool.deployments})
    return {
        "id": name,
        "object": "model",
        "created": s.started_at_us // 1_000_000,
        "owned_by": providers[0] if len(providers) == 1 else "turnpike",
        "providers": providers,
        "context_length": min(windows, default=None),
        "max_output_tokens": min(outputs, default=None),
        "pricing": _pricing([road.price_for(key.team_id, now_at_us) for road in roads]),
        "capabilities": sorted(set.intersection(*able)) if able else [],
    }


def _pricing(prices: list[Price]) -> dict[str, str] | None:
    """USD per token, as decimal strings; of several deployments the dearest. None where a price is not known."""
    if any(price is UNPRICED for price in prices):
        return None
    return {
        "prompt": _usd(max(price.input_pico_usd for price in prices)),
        "completion": _usd(max(price.output_pico_usd for price in prices)),
        "input_cache_read": _usd(max(price.cached_input_pico_usd for price in prices)),
    }


def _usd(pico_usd: int) -> str:
    text = f"{pico_usd // PICO_PER_USD}.{pico_usd % PICO_PER_USD:012d}".rstrip("0")
    return text.removesuffix(".")


def key_view(s: Services, key: Key) -> dict[str, Any]:
    """`GET /v1/key` as far as memory has it: this key's own limits and models. Its budgets are in the database."""
    return {
        "object": "key",
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "team_id": key.team_id,
        "user_id": key.user_id,
        "models_allowed": list(key.models_allowed),
        "models": [entry["id"] for entry in model_page(s, key)["data"]],
        "created_at": _rfc3339(key.created_at_us),
        "expires_at": _rfc3339(key.expires_at_us),
        "limits": _limits(s.tenancy.of(key).own),
    }


def charges_of(s: Services, key: Key) -> tuple[Dimensions, ...]:
    """What its requests would be charged to, for each of the models that it may use; less what a request adds: its
    end user and tags of its own.
    """
    team = None if key.team_id is None else s.tenancy.team(key.team_id)
    fixed = {**key.tags, **(team.tags if team is not None else {})}
    tags = tuple(sorted(f"{name}={value}" for name, value in fixed.items()))
    own = Dimensions(key.organization_id, key.team_id, key.user_id, key.id, None, None, None, tags)
    named = [found for name in s.roads.listed() if (found := s.roads.named(name)) is not None and found.may(key)]
    models = {(one.provider, one.model) for found in named for one in found.pool.deployments}
    return (own, *(own._replace(provider=provider, model=model) for provider, model in sorted(models)))


def _limits(limits: Limits) -> dict[str, Any]:
    models = {pattern: asdict(limit) for pattern, limit in limits.models}
    return asdict(limits.whole) | ({"models": models} if models else {})


def _rfc3339(at_us: int | None) -> str | None:
    if at_us is None:
        return None
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
