"""What the control plane is given to work with: the shared objects of one running gateway, and nothing global.

Imports no web framework, so that the composition root may fill one before anybody asks for `/admin`.
"""

import os
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from billing.idempotency import TAKEOVER_US
from billing.keys import Key
from billing.price import Price
from billing.store import Store


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """One deployment of one callable name, as it stands at this instant."""

    id: str
    name: str
    provider: str
    model: str
    weight: int = 1
    cooling_until_at_us: int | None = None
    reason: str | None = None  # why it cools


class ReplicaView(Protocol):
    """What is read of a local replica; `local_backend.state.ReplicaState` is one."""

    @property
    def model(self) -> str: ...
    @property
    def index(self) -> int: ...
    @property
    def state(self) -> Enum: ...
    @property
    def since_at_us(self) -> int: ...
    @property
    def phase(self) -> str: ...
    @property
    def percent(self) -> int | None: ...
    @property
    def address(self) -> str | None: ...
    @property
    def restarts(self) -> int: ...
    @property
    def cause(self) -> str | None: ...


class LocalControl(Protocol):
    """The supervisor, from above. Its coroutines run on the gateway's own loop, as the admin app does."""

    def states(self) -> Sequence[ReplicaView]: ...
    async def start_model(self, name: str) -> None: ...
    async def stop_model(self, name: str) -> None: ...
    def logs(self, name: str, _lines_max: int, /) -> Sequence[str]: ...


class Ring(Protocol):
    """The keys that the data plane honours. What is put here counts from the next request on."""

    def find(self, _digest: bytes, _now_at_us: int, /) -> Key | None: ...
    def put(self, key: Key) -> None: ...
    def drop(self, key_id: str) -> None: ...


class PendingHold(Protocol):
    """A hold of a request in flight; `billing.books.Hold` is one."""

    @property
    def opened_at_us(self) -> int: ...
    @property
    def key_id(self) -> str: ...
    @property
    def team_id(self) -> str | None: ...
    @property
    def user_id(self) -> str | None: ...
    @property
    def organization_id(self) -> str | None: ...
    @property
    def end_user(self) -> str | None: ...
    @property
    def provider(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def tags(self) -> tuple[str, ...]: ...
    @property
    def amount_nano_usd(self) -> int: ...


@dataclass(frozen=True, slots=True)
class AdminRooms:
    store: Store
    keyring: Ring
    admin_key_digest: bytes  # SHA-256 of the admin key; the key itself is not needed here
    deployments: Callable[[], tuple[DeploymentView, ...]]
    local: LocalControl | None
    ready: Callable[[], tuple[str, ...]]  # what is missing before this gateway can serve; empty when it can
    pending: Callable[[], Sequence[PendingHold]]  # called from a thread: hand over a copy
    flush: Callable[[], None]  # called from a thread: returns when what was settled is in the database
    clock: Callable[[], int]  # microseconds since the Unix epoch
    entropy: Callable[[int], bytes] = os.urandom
    changed: Callable[[frozenset[str]], object] = lambda _: None  # from a thread, after the commit: names of `control`
    ended_sessions: MutableMapping[str, int] = field(default_factory=dict)  # signed out: nonce, and when it would end
    version: str = ""
    # Boots whose holds are in `pending`: what their leases tell in the database is older.
    live_boots: Callable[[], frozenset[str]] = frozenset
    state: Path | None = None  # the state directory, where the ends of the ledger's chains are kept
    configured_prices: Callable[[], Mapping[tuple[str, str], Price]] = dict  # by provider and model
    takeover_us: int = TAKEOVER_US  # after so long a creation that was not answered is another's to make
