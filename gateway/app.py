"""The composition root: builds every object once, and is the only place that reads the clock, chance and the
environment.
"""

import asyncio
import contextlib
import gc
import hashlib
import logging
import os
import random
import secrets
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from billing.audit_head import AuditHead
from billing.books import Books
from billing.budget_events import Alerts, Watch
from billing.counters import OwnCounters
from billing.keys import SECRET_BYTES, Key, KeyRing, digest, mint
from billing.limits import Limit
from billing.price_book import PriceBook
from billing.price_table import PriceTable
from billing.retention import drop_old_requests
from billing.store import Store, prefix_of
from billing.tenancy import Tenancy
from cache.exact import ExactCache
from cache.policy import ExactPolicy
from gateway.admin.rooms import AdminRooms, DeploymentView
from gateway.alerts import Alarms, alerts_of, poster, webhooks_of
from gateway.built import compiled
from gateway.config.schema import ProviderRow, Settings
from gateway.configured_prices import deployment_id, price_of
from gateway.door import METRICS_TYPE, FrontDoor
from gateway.failed_keys import FailedKeys
from gateway.ids import RequestIds
from gateway.journals import journal_of, recover_first, recover_left
from gateway.key_report import KeyReport
from gateway.local_models import supervisor_of
from gateway.log import line_sink
from gateway.metrics import Metrics, resident_bytes
from gateway.providers.registry import ROWS
from gateway.providers.row import ProviderDefaults
from gateway.rates import Rates
from gateway.refresh import Refresh, ToldRing, reload_keys, reload_prices, reload_tenancy
from gateway.roads import DEMO, LOCAL, LocalRoads, Provider, Roads, Timeouts, forwardable, request_head
from gateway.services import Gate, Services
from gateway.wire.clock import Sweep
from gateway.wire.server import Limits
from gateway.wire.tunnel import proxy_for, tunnelled_connect
from gateway.wire.upstream import Origin, Pool, plain_connect
from gateway.workers.bus import Bus
from gateway.workers.counts import counters_of
from gateway.workers.engines import FarEngines
from gateway.workers.recalls import Recalls
from gateway.workers.together import EndedSessions, Together, metrics_of_all
from gateway.workers.worker import Worker
from local_backend.supervisor import Supervisor
from routing.credentials import KeySet
from routing.deployments import Deployment
from routing.deployments import Pool as Names
from routing.health import Health

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.wire.asgi import Application, Message, Receive, Send

# The first answers come before the pages.
ADMIN_BUILT_AFTER_S: Final = 1.0
log = logging.getLogger("turnpike")

TEND_S: Final = 0.5
DROP_S: Final = 3600.0
CHAT_PATH: Final = "/chat/completions"
VERSION: Final = "0.1.0"
_ECHO_ROW: Final = ProviderDefaults(name=DEMO, base_url="", key_env=None)


def now_us() -> int:
    """UTC, in microseconds since the epoch."""
    return time.time_ns() // 1000  # noqa: TID251  # the one clock


def environment() -> Mapping[str, str]:
    """The process's environment."""
    return os.environ  # noqa: TID251  # the one reading of it


@dataclass(slots=True)
class App:
    """A gateway, built and not yet open to anybody."""

    settings: Settings
    services: Services
    door: FrontDoor
    store: Store
    engines: Supervisor | FarEngines
    refresh: Refresh
    bus: Bus
    worker: Worker
    alarms: Alarms
    alerts: Alerts
    admin: "_Admin"
    _tending: asyncio.TimerHandle | None = None
    _dropping: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Recovers what an earlier boot left, and starts the background work."""
        state, workers = self.settings.state.directory, self.worker.count
        books_for = partial(_books_left, self.settings, self.alerts, self.alarms)
        if self.worker.index == 0:
            recover_first(state, books_for)
        self.services.books.open()
        self.alarms.open()
        if self.worker.index == 0:
            threading.Thread(target=recover_left, args=(state, workers, books_for), daemon=True).start()
        self.refresh.open()
        self.services.sweep.start()
        # What was built stays: not to be walked again at each collection of what requests leave behind.
        gc.collect()
        gc.freeze()
        # Requests leave no cycles; rows waiting for the flusher are many, and no garbage.
        gc.set_threshold(200_000, 20, 50)
        self.services.loop.call_later(ADMIN_BUILT_AFTER_S, self.admin.begin)
        self._tend()
        if self.worker.index == 0:
            self._drop_old()

    def _drop_old(self) -> None:
        """Hourly, by one worker, on a thread."""
        loop, days = self.services.loop, self.settings.retention.requests_days
        loop.run_in_executor(None, _without_old_requests, self.store, days)
        self._dropping = loop.call_later(DROP_S, self._drop_old)

    def _tend(self) -> None:
        self.services.books.tend()
        self._tending = self.services.loop.call_later(TEND_S, self._tend)

    async def close(self) -> None:
        """Settles and stops everything; the journal is closed last."""
        await self.engines.close()
        for provider in self.services.roads.providers.values():
            if provider.connections is not None:
                provider.connections.close()
        self.services.sweep.stop()
        for timer in (self._tending, self._dropping):
            if timer is not None:
                timer.cancel()
        await asyncio.get_running_loop().run_in_executor(None, self.refresh.close)
        await asyncio.get_running_loop().run_in_executor(None, self.services.books.close)
        await asyncio.get_running_loop().run_in_executor(None, self.alarms.close)
        self.services.rates.close()
        await self.bus.close()
        self.store.close()


def _without_old_requests(store: Store, requests_days: int) -> None:
    try:
        dropped = drop_old_requests(store.engine, requests_days, now_us())
    except SQLAlchemyError:
        log.exception("old rows of the request log were not dropped: tried again in an hour")
    else:
        if dropped:
            log.info("dropped %d rows of requests older than %d days", dropped, requests_days)


def _versions(store: Store, audit_head: AuditHead | None) -> dict[str, int]:
    """What has changed; what tells of it in the audit log is signed on the way."""
    if audit_head is not None:
        audit_head.put(now_us())
    return store.control_versions()


def new_key(name: str) -> tuple[str, Key]:
    """A fresh key of nobody's and for every model, with its secret."""
    secret = mint(secrets.token_hex(6), secrets.token_bytes(SECRET_BYTES))
    key = Key(
        f"key_{secrets.token_hex(12)}", name, prefix_of(secret), digest(secret.encode()), None, None, (), now_us()
    )
    return secret, key


def lone() -> Worker:
    """The worker of a gateway that has one."""
    return Worker(secrets.token_hex(8))


def build(
    settings: Settings,
    environ: Mapping[str, str],
    admin_secret: str,
    worker: Worker | None = None,
    bus: Bus | None = None,
) -> App:
    """Builds everything, inside a running event loop. Raises what a room raises about its part of the settings."""
    loop = asyncio.get_running_loop()
    worker = worker or lone()
    bus = bus or Bus(None, worker.boot_id)
    directory = settings.state.directory
    sweep = Sweep(loop, now_us)
    store = Store(settings.state.database_url)
    keyring = KeyRing(store.all_keys())
    books = Books(
        settings.state.database_url,
        journal_of(directory, worker.index),
        clock=now_us,
        sink=line_sink(),
        writer=worker.index,
        boot_id=worker.boot_id,
        workers=worker.count,
        state=directory,
        journal_sync=settings.billing.journal_sync,
        loop=_Loop(loop),
        database_grace_s=settings.billing.database_grace_s,
        refuse_when_down=settings.billing.database_down == "refuse",
    )
    webhooks = webhooks_of(settings.alerts)
    alerts = alerts_of(settings.alerts)
    alarms = Alarms(
        webhooks,
        store.outbox,
        poster(environ, partial(_tls, environ)),
        clock=now_us,
        draw=random.random,  # noqa: TID251  # the one source of chance
        sink=line_sink(),
        delivers=worker.index == 0,
    )
    books.tell(alerts, alarms.on_crossed)
    store.tell(Watch(alerts, alarms.on_crossed))
    connections_for = partial(_connections, loop=loop, environ=environ)
    engines = (
        supervisor_of(settings, environ, clock=now_us, draw=random.random)  # noqa: TID251  # the one source of chance
        if worker.alone
        else FarEngines(bus)
    )
    audit_head = AuditHead(directory, store.engine) if worker.index == 0 else None
    refresh = Refresh(bus, partial(_versions, store, audit_head))
    tenancy = Tenancy(store.team_rules(), store.limits_of_models(), Limit(**settings.limits.model_dump()))
    tenants = partial(reload_tenancy, store, tenancy)
    refresh.on("limits", tenants)
    # Before the keys: none is let in whose team is not known yet.
    refresh.on("tenancy", tenants)
    refresh.on("tenancy", partial(reload_keys, store, keyring))
    refresh.on("budgets", books.reload_from)
    Recalls(bus, books.wallets)
    roads = _roads(settings, connections_for, worker)
    roads.reprice(PriceBook(roads.table, store.price_list.live()))
    refresh.on("prices", partial(reload_prices, store, roads, _Loop(loop).soon))
    health, metrics, gate = Health(), Metrics(), Gate()
    metrics.build(VERSION, compiled=compiled())
    exact = settings.cache.exact
    policy = ExactPolicy(exact.enabled, exact.ttl_s, exact.temperature_max, exact.scope)
    services = Services(
        loop=loop,
        sweep=sweep,
        clock=now_us,
        monotonic=time.monotonic,
        draw=random.random,  # noqa: TID251  # the one source of chance
        mint_id=RequestIds(now_us, os.urandom),
        gate=gate,
        requests_in_flight_max=settings.server.requests_in_flight_max,
        keyring=keyring,
        failed_keys=FailedKeys(settings.auth.failures_per_minute_max),
        tenancy=tenancy,
        rates=Rates(OwnCounters() if worker.alone else counters_of(directory, worker.index, worker.count)),
        books=books,
        roads=roads,
        local=LocalRoads(engines, connections_for, Timeouts().connect_s),
        health=health,
        exact=ExactCache(policy.entries_max, policy.bytes_max),
        exact_policy=policy,
        metrics=metrics,
        response_body_bytes_max=settings.server.response_body_bytes_max,
        sse_keepalive_s=settings.server.sse_keepalive_s,
        awaits_disk=settings.billing.journal_sync == "group",
        charges_input=settings.billing.unknown_outcome == "charge_input",
        drain_cancelled=settings.billing.cancelled_stream == "drain",
        over_budget=settings.routing.over_budget,
        open_when_down=settings.billing.database_down == "open",
        started_at_us=now_us(),
    )
    _gauges(services)
    digest = hashlib.sha256(admin_secret.encode()).digest()
    missing = partial(_missing, services, directory)
    together = Together(bus, books, metrics, partial(_deployments, services))
    rooms = AdminRooms(
        store=store,
        keyring=ToldRing(keyring, refresh, bus),
        admin_key_digest=digest,
        deployments=together.deployments,
        local=engines if settings.local.models else None,
        ready=missing,
        pending=together.pending,
        flush=together.flush,
        clock=now_us,
        version=VERSION,
        changed=refresh.changed,
        ended_sessions=EndedSessions(bus),
        configured_prices=roads.configured_prices,
        state=directory,
        live_boots=lambda: frozenset((worker.boot_id, *bus.siblings())),
        takeover_us=int(settings.server.creation_takeover_s * 1_000_000),
    )
    token = settings.metrics.token
    admin = _Admin(rooms)
    door = FrontDoor(
        services,
        Limits(
            settings.server.request_body_bytes_max,
            settings.server.header_bytes_max,
            settings.server.body_timeout_s,
            settings.server.keepalive_s,
            settings.server.client_stall_s,
        ),
        missing=missing,
        admin=admin,
        key_report=KeyReport(services, rooms),
        metrics_token_digest=hashlib.sha256(token.get_secret_value().encode()).digest() if token else None,
        token_digest=lambda text: hashlib.sha256(text).digest(),
        metrics_of_all=None if worker.alone else metrics_of_all(bus, METRICS_TYPE),
    )
    return App(settings, services, door, store, engines, refresh, bus, worker, alarms, alerts, admin)


def _books_left(settings: Settings, alerts: Alerts, alarms: Alarms, journal: Path, writer: int) -> Books:
    """On a journal that no worker has any more, to post what is in it."""
    books = Books(settings.state.database_url, journal, clock=now_us, writer=writer, state=settings.state.directory)
    books.tell(alerts, alarms.on_crossed)
    return books


@dataclass(frozen=True, slots=True)
class _Loop:
    """The event loop, as the books use it."""

    loop: asyncio.AbstractEventLoop

    def soon(self, callback: "Callable[[], None]") -> None:
        # After the loop has closed nobody waits for an answer any more.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(callback)

    def after_ms(self, delay_ms: int, callback: "Callable[[], None]") -> None:
        self.loop.call_later(delay_ms / 1000, callback)


class _Admin:
    """The admin application, imported and built on a thread of its own: neither a start nor an answer waits for it."""

    def __init__(self, rooms: AdminRooms) -> None:
        self._rooms = rooms
        self._built: asyncio.Future[Application] | None = None

    def begin(self) -> "asyncio.Future[Application]":
        """Builds it, once."""
        if self._built is None:
            self._built = asyncio.get_running_loop().run_in_executor(None, self._build)
        return self._built

    def _build(self) -> "Application":
        from gateway.admin.app import build_admin  # noqa: PLC0415  # half a second that the data plane does not pay

        return build_admin(self._rooms)

    async def __call__(self, scope: "Message", receive: "Receive", send: "Send") -> None:
        application = await self.begin()
        await application(scope, receive, send)


def _connections(
    origin: Origin, connect_s: float, *, loop: asyncio.AbstractEventLoop, environ: Mapping[str, str]
) -> Pool:
    tls = _tls(environ) if origin.tls else None
    proxy = proxy_for(origin, environ)
    connect = plain_connect(origin, loop, tls) if proxy is None else tunnelled_connect(origin, proxy, loop, tls)
    return Pool(origin, connect, loop, connect_s=connect_s)


def _tls(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Verifying, with the machine's certificates or those that SSL_CERT_FILE and SSL_CERT_DIR name."""
    context = ssl.create_default_context(cafile=environ.get("SSL_CERT_FILE"), capath=environ.get("SSL_CERT_DIR"))
    context.set_alpn_protocols(["http/1.1"])
    return context


def _roads(settings: Settings, connections_for: "partial[Pool]", worker: Worker) -> Roads:
    providers = {name: _provider(name, row, connections_for, worker) for name, row in _usable(settings).items()}
    if settings.local.models:
        providers[LOCAL] = _bare(LOCAL, ROWS[LOCAL])
    if not providers:
        providers[DEMO] = _bare(DEMO, _ECHO_ROW)
    roads = Roads(
        providers=providers,
        roads={},
        pools={},
        fallbacks=dict(settings.routing.fallbacks),
        table=PriceTable(),
        local_models=frozenset(settings.local.models),
    )
    for name, rows in settings.models.items():
        deployments = []
        for place, row in enumerate(rows):
            its_id = deployment_id(name, place, row.provider, row.model)
            deployment = Deployment(its_id, row.provider, row.model, row.weight)
            price = None if row.price is None else price_of(row.price, its_id)
            roads.roads[its_id] = roads.road(deployment, price)
            deployments.append(deployment)
        roads.pools[name] = Names(name, tuple(deployments))
    return roads


def _usable(settings: Settings) -> dict[str, ProviderRow]:
    """The configured rows, and known providers that a deployment names without a row of their own."""
    rows = dict(settings.providers)
    for deployments in settings.models.values():
        for deployment in deployments:
            if deployment.provider in ROWS and deployment.provider != LOCAL:
                rows.setdefault(deployment.provider, ProviderRow())
    return rows


def _bare(name: str, row: ProviderDefaults) -> Provider:
    return Provider(name, None, (b"",), KeySet((1,)), Timeouts(), row, True, frozenset(), (), None)


def _provider(name: str, row: ProviderRow, connections_for: "partial[Pool]", worker: Worker) -> Provider:
    defaults = ROWS.get(name) or ProviderDefaults(name=name, base_url="", key_env=None)
    origin = Origin.of(row.base_url or defaults.base_url)
    keys = [entry.key.get_secret_value() for entry in row.api_keys]
    heads = []
    for key in keys or [""]:
        lines = {"user-agent": f"turnpike/{VERSION}", "accept": "*/*"}
        if key:
            lines[defaults.auth_header] = f"{defaults.auth_prefix}{key}"
        lines |= {header.lower(): value for header, value in row.headers.items()}
        heads.append(request_head(origin, CHAT_PATH, lines))
    timeouts = Timeouts(**row.timeouts.model_dump())
    hidden = sorted(
        {*keys, row.base_url or defaults.base_url, origin.authority, origin.host} - {""}, key=len, reverse=True
    )
    return Provider(
        name,
        connections_for(origin, timeouts.connect_s),
        tuple(heads),
        KeySet(tuple(entry.weight for entry in row.api_keys) or (1,)),
        timeouts,
        defaults,
        not (defaults.unsupported or defaults.dropped or defaults.renamed) and defaults.stream_usage,
        forwardable(row.forward_headers),
        tuple(hidden),
        None if row.concurrency_max is None else worker.share(row.concurrency_max),
    )


def _gauges(s: Services) -> None:
    gauge = s.metrics.gauge
    gauge("turnpike_requests_in_flight", "Requests under way.", lambda: s.gate.in_flight)
    gauge("turnpike_event_loop_lag_seconds", "How late the last sweep came.", lambda: s.sweep.lag_s, worst=True)
    gauge("turnpike_resident_memory_bytes", "Resident memory of this process.", resident_bytes)
    gauge("turnpike_exact_cache_entries", "Answers kept.", lambda: s.exact.stats().entries)
    gauge("turnpike_exact_cache_hits_total", "Requests answered from the exact cache.", lambda: s.exact.stats().hits)
    gauge("turnpike_pending_usd", "Holds of requests in flight.", lambda: s.books.pending_nano_usd() / 1e9)


def _missing(s: Services, directory: Path) -> tuple[str, ...]:
    missing = []
    if s.gate.draining:
        missing.append("draining: this process is about to stop")
    if not os.access(directory, os.W_OK):
        missing.append(f"state directory {directory} is not writable")
    missing += s.books.troubles()
    return tuple(missing)


def _deployments(s: Services) -> tuple[DeploymentView, ...]:
    now = now_us()
    views = []
    for name in s.roads.listed():
        named = s.roads.named(name)
        for deployment in named.pool.deployments if named else ():
            until = s.health.cooling_until(deployment.id)
            views.append(
                DeploymentView(
                    deployment.id,
                    name,
                    deployment.provider,
                    deployment.model,
                    deployment.weight,
                    until if until > now else None,
                    s.health.state(deployment.id, now).value if until > now else None,
                )
            )
    return tuple(views)
