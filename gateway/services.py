"""What a request is given: every object of the running gateway, built once by `gateway.app`, frozen."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from billing.books import Books
from billing.keys import KeyRing
from billing.tenancy import Tenancy
from cache.exact import ExactCache
from cache.policy import ExactPolicy
from gateway.failed_keys import FailedKeys
from gateway.ids import RequestIds
from gateway.metrics import Metrics
from gateway.rates import Rates
from gateway.roads import LocalRoads, Roads
from gateway.wire.clock import Sweep
from routing.health import Health


@dataclass(slots=True)
class Gate:
    """Whether requests are let in: closed while draining; counts those under way."""

    draining: bool = False
    patient: bool = True
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Services:
    """`clock` gives UTC microseconds, `monotonic` the event loop's seconds but to the microsecond, `draw` a number in
    [0, 1), `mint_id` a request id; nothing else reads time or chance.
    """

    loop: asyncio.AbstractEventLoop
    sweep: Sweep
    clock: Callable[[], int]
    monotonic: Callable[[], float]
    draw: Callable[[], float]
    mint_id: RequestIds
    gate: Gate
    requests_in_flight_max: int
    keyring: KeyRing
    failed_keys: FailedKeys
    tenancy: Tenancy
    rates: Rates
    books: Books
    roads: Roads
    local: LocalRoads
    health: Health
    exact: ExactCache
    exact_policy: ExactPolicy
    metrics: Metrics
    response_body_bytes_max: int
    sse_keepalive_s: float
    awaits_disk: bool
    """Whether a request's intent is on the disk before its first byte leaves: `journal_sync: group`."""
    charges_input: bool
    """Whether an unknown outcome costs its input where no hard budget binds: `unknown_outcome: charge_input`."""
    drain_cancelled: bool
    over_budget: str
    open_when_down: bool
    started_at_us: int
