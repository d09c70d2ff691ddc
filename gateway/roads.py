"""The configuration as the hot path wants it: for each name a pool, for each deployment all that a request needs,
prepared.

Built once from the settings; names such as `provider/model` that no configuration lists are prepared when first asked
for.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from billing.keys import Key, may_use, may_use_all
from billing.price import FREE, UNPRICED, Price
from billing.price_book import PriceBook, Schedule
from billing.price_table import Listing, PriceTable
from gateway.caller import NOT_FORWARDABLE
from gateway.configured_prices import CONFIGURED
from gateway.providers.registry import provider_of
from gateway.providers.row import ProviderDefaults
from gateway.wire.headers import named_lines
from gateway.wire.upstream import Origin
from gateway.wire.upstream import Pool as Connections
from local_backend.supervisor import Address
from routing.credentials import KeySet
from routing.deployments import Deployment, Pool
from routing.plan import Choice, Planner

# Held where neither the caller nor the model's listing bounds the answer.
OUTPUT_TOKENS_UNBOUNDED: Final = 16_384
NAMES_PREPARED_MAX: Final = 10_000
# From so many on, who is asked for becomes the last to go; below it nobody is near the end, and asking is free.
NAMES_ORDERED_MIN: Final = NAMES_PREPARED_MAX * 3 // 4
LOCAL: Final = "local"
DEMO: Final = "demo"
ECHO: Final = "echo"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds; `first_byte_s` and `idle_s` bind streams alone."""

    connect_s: float = 5
    first_byte_s: float = 600
    idle_s: float = 300
    total_s: float = 3600


class LocalEngines(Protocol):
    """What the gateway needs of the local backend."""

    def ready_address(self, name: str) -> Address | None: ...
    async def ensure_ready(self, name: str) -> Address: ...


@dataclass(slots=True)
class Provider:
    """One row of `providers`, ready for use. `plain`: it takes every field as it comes. `in_flight` counts attempts."""

    name: str
    connections: Connections | None
    heads: tuple[bytes, ...]
    keys: KeySet
    timeouts: Timeouts
    row: ProviderDefaults
    plain: bool
    forward_headers: frozenset[bytes]
    secrets: tuple[str, ...]
    concurrency_max: int | None
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Road:
    """One deployment, ready for use. `price` is None where nobody knows it; `pinned_price` is what a hold pins, unless
    the list has rows for the model: `schedule`.
    """

    deployment: Deployment
    provider: Provider
    model_json: bytes
    named_lines: bytes
    price: Price | None
    pinned_price: Price
    listing: Listing | None
    output_tokens_max: int
    known_output_max: int | None = None
    context_tokens_max: int | None = None
    schedule: Schedule | None = None

    def price_for(self, team_id: str | None, at_us: int) -> Price:
        """What a hold pins, opened at that time. HOT: most models have no listed price, and pay one comparison."""
        schedule = self.schedule
        if schedule is None:
            return self.pinned_price
        return schedule.price(team_id, at_us) or self.pinned_price


class Named:
    """What a name stands for, and the order in which a request for it tries its targets."""

    __slots__ = ("_planners", "fallbacks", "names", "planner", "pool")

    def __init__(self, name: str, pool: Pool, fallbacks: tuple[Pool, ...]) -> None:
        self.pool = pool
        self.fallbacks = fallbacks
        # An allow-list may name it as the caller does, or, where the name is one deployment, by provider and model.
        self.names = (name, pool.deployments[0].id) if pool.route == "pinned" else (name,)
        self.planner = Planner(pool, fallbacks)
        self._planners: dict[tuple[bool, ...], Planner] = {}

    def planner_for(self, key: Key) -> Planner:
        """The plan within what the key may use: a fallback is no way around an allow-list."""
        if not self.fallbacks or may_use_all(key):
            return self.planner
        allowed = tuple(may_use(key, fallback.name) for fallback in self.fallbacks)
        planner = self._planners.get(allowed)
        if planner is None:
            kept = tuple(fallback for fallback, may in zip(self.fallbacks, allowed, strict=True) if may)
            planner = self._planners[allowed] = Planner(self.pool, kept)
        return planner

    def may(self, key: Key) -> bool:
        """Whether the key may use this name."""
        return may_use_all(key) or may_use(key, *self.names)


def request_head(origin: Origin, path: str, lines: Mapping[str, str]) -> bytes:
    """A request's constant beginning, up to the value of content-length."""
    fixed = {"host": origin.authority, "content-type": "application/json", "accept-encoding": "identity", **lines}
    text = "".join(f"{name}: {value}\r\n" for name, value in fixed.items())
    return f"POST {origin.path}{path} HTTP/1.1\r\n{text}content-length: ".encode("latin-1")


class _Prepared(dict[str, Road]):
    """Roads by their deployment's id. One of a pinned model that was forgotten, while another spelling of its name or a
    request under way still leads there, is prepared once more.
    """

    def __init__(self, roads: "Roads") -> None:
        super().__init__(roads.roads)
        self._roads = roads

    def __missing__(self, deployment_id: str) -> Road:
        provider, _, model = deployment_id.partition("/")
        road = self[deployment_id] = self._roads.road(Deployment(deployment_id, provider, model), price=None)
        return road


@dataclass(slots=True)
class Roads:
    """All names and roads of one configuration."""

    providers: dict[str, Provider]
    roads: dict[str, Road]
    pools: dict[str, Pool]
    fallbacks: Mapping[str, tuple[str, ...]]
    table: PriceTable
    local_models: frozenset[str] = frozenset()
    book: PriceBook | None = None
    _named: "OrderedDict[str, Named | None]" = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self.roads = _Prepared(self)

    def named(self, name: str) -> Named | None:
        """The pool behind a name and what is tried when all of it fails; None where nothing answers to it."""
        found = self._named.get(name, _UNASKED)
        if isinstance(found, _Unasked):
            found = self._prepare(name)
            self._named[name] = found
            if len(self._named) > NAMES_PREPARED_MAX:
                _, dropped = self._named.popitem(last=False)
                if dropped is not None and dropped.pool.route == "pinned":
                    self.roads.pop(dropped.pool.deployments[0].id, None)
        elif len(self._named) >= NAMES_ORDERED_MIN:
            self._named.move_to_end(name)
        return found

    def listed(self) -> tuple[str, ...]:
        """The names that a list of models shows: the configured ones, local models, else what the providers are known
        for.
        """
        names = [*self.pools, *(f"{LOCAL}/{model}" for model in sorted(self.local_models))]
        if not self.pools:
            for provider in self.providers:
                if provider == DEMO:
                    names.append(f"{DEMO}/{ECHO}")
                elif provider != LOCAL:
                    names += [f"{provider}/{model}" for model in self.table.models(provider)]
        return tuple(names)

    def reprice(self, book: PriceBook) -> None:
        """The prices as they are from now on; on the event loop's thread. What is held already keeps its price."""
        self.book = book
        for deployment_id, road in tuple(self.roads.items()):
            self.roads[deployment_id] = Road(
                road.deployment, road.provider, road.model_json, road.named_lines, road.price, road.pinned_price,
                road.listing, road.output_tokens_max, road.known_output_max, road.context_tokens_max,
                book.schedule(road.deployment.provider, road.deployment.model),
            )  # fmt: skip

    def configured_prices(self) -> dict[tuple[str, str], Price]:
        """What the configuration states, by provider and model; of several deployments the first."""
        found: dict[tuple[str, str], Price] = {}
        for road in tuple(self.roads.values()):
            if road.price is not None and road.price.version.startswith(CONFIGURED):
                found.setdefault((road.deployment.provider, road.deployment.model), road.price)
        return found

    def cheaper(self, rest: tuple[Choice, ...], than: Road, key: Key | None, at_us: int) -> tuple[Choice, ...]:
        """Where a request goes whose budget has no room for `than`: the cheapest of what is left of its plan first,
        local models before all of them.
        """
        found = {choice.deployment.id: choice.deployment for choice in rest}
        for model in sorted(self.local_models):
            name = f"{LOCAL}/{model}"
            named = self.named(name)
            if named is not None and (key is None or named.may(key)):
                found.setdefault(name, named.pool.deployments[0])
        found.pop(than.deployment.id, None)
        team_id = key.team_id if key is not None else None
        dearest = _rate(than.price_for(team_id, at_us))
        priced = [
            (_rate(self.roads[deployment.id].price_for(team_id, at_us)), deployment) for deployment in found.values()
        ]
        return tuple(
            Choice(deployment, "budget", f"the budget has no room for {than.deployment.model}")
            for rate, deployment in sorted(priced, key=lambda each: each[0])
            if rate < dearest
        )

    def _prepare(self, name: str) -> Named | None:
        pool = self.pools.get(name) or self._pinned(name)
        if pool is None:
            return None
        fallbacks = tuple(self.pools.get(other) or self._pinned(other) for other in self.fallbacks.get(name, ()))
        return Named(name, pool, tuple(found for found in fallbacks if found is not None))

    def _pinned(self, name: str) -> Pool | None:
        """`provider/model`, `provider:model` (split at the first separator), or a bare name a provider is known to
        have.
        """
        cut = min((at for at in (name.find("/"), name.find(":")) if at > 0), default=-1)
        provider, model = name[:cut], name[cut + 1 :]
        if cut < 0 or provider not in self.providers:
            model = name
            provider = provider_of(name, self.providers) or ""
        if not model or provider not in self.providers:
            return None
        if (provider == LOCAL and model not in self.local_models) or (provider == DEMO and model != ECHO):
            return None
        return self._single(name, provider, model)

    def _single(self, name: str, provider: str, model: str) -> Pool:
        deployment = Deployment(id=f"{provider}/{model}", provider=provider, model=model)
        if deployment.id not in self.roads:
            self.roads[deployment.id] = self.road(deployment, price=None)
        return Pool(name=name, deployments=(deployment,), route="pinned")

    def road(self, deployment: Deployment, price: Price | None) -> Road:
        """Prepares one deployment. `price` is the configured one, which wins over the table's."""
        listing = None
        if deployment.provider in (LOCAL, DEMO):
            price = price or FREE
        else:
            listing = self.table.find(deployment.provider, deployment.model)
            price = price or (listing.price if listing else None)
        model_json = json.dumps(deployment.model, ensure_ascii=False).encode()
        output_max = (listing.max_output_tokens if listing else None) or OUTPUT_TOKENS_UNBOUNDED
        return Road(
            deployment, self.providers[deployment.provider], model_json,
            named_lines(deployment.model, deployment.provider), price, price or UNPRICED, listing, output_max,
            listing.max_output_tokens if listing else None, listing.context_length if listing else None,
            self.book.schedule(deployment.provider, deployment.model) if self.book is not None else None,
        )  # fmt: skip


def _rate(price: Price) -> int:
    return price.input_pico_usd + price.output_pico_usd + price.request_nano_usd


class _Unasked:
    """Stands for a name nobody has asked for yet (None: asked for, and unknown)."""


_UNASKED: Final = _Unasked()

ConnectionsFor = Callable[[Origin, float], Connections]


def forwardable(names: tuple[str, ...]) -> frozenset[bytes]:
    """A provider's `forward_headers`, less what may never leave."""
    wanted = {name.lower().encode("latin-1") for name in names}
    return frozenset(name for name in wanted - NOT_FORWARDABLE if not name.startswith(b"x-turnpike-"))


class LocalRoads:
    """Connections to local replicas, one pool an address; a replica that moved leaves its old pool to close."""

    def __init__(self, engines: LocalEngines, connections_for: ConnectionsFor, connect_s: float) -> None:
        self._engines = engines
        self._connections_for = connections_for
        self._connect_s = connect_s
        self._pools: dict[tuple[str, int], tuple[Connections, bytes]] = {}

    def ready(self, name: str) -> tuple[Connections, bytes] | None:
        """The pool and request head of a replica that is up, or None."""
        address = self._engines.ready_address(name)
        return None if address is None else self._at(address)

    def started(self, name: str) -> "asyncio.Task[tuple[Connections, bytes]]":
        """The same, once a replica is up: a task, so that an errand may await it. Raises what the backend raises."""
        return asyncio.get_running_loop().create_task(self._start(name))

    async def _start(self, name: str) -> tuple[Connections, bytes]:
        return self._at(await self._engines.ensure_ready(name))

    def _at(self, address: Address) -> tuple[Connections, bytes]:
        key = (address.host, address.port)
        known = self._pools.get(key)
        if known is None:
            origin = Origin(tls=False, host=address.host, port=address.port, path="/v1")
            known = (self._connections_for(origin, self._connect_s), request_head(origin, "/chat/completions", {}))
            self._pools[key] = known
        return known
