"""Keeps what this worker holds in memory of the database up to date: told by a change, or found by looking.

Who makes a change calls `changed`; when that returns, every live worker works by it, or had a second to. What other
machines and the command line change directly in the database is found by the versions that such a change leaves there.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from billing.keys import Key, KeyRing
from billing.price_book import PriceBook
from billing.store import Store
from billing.tenancy import Tenancy
from gateway.roads import Roads
from gateway.workers.bus import Bus

CHANGED: Final = "changed"
CONFIRM_S_MAX: Final = 1.0
LOOK_S: Final = 0.5
LOOP_LATE_S_MAX: Final = 10.0

DROPPED: Final = "dropped"

Reload = Callable[[], None]

log = logging.getLogger("turnpike")


class Refresh:
    """Reloads run one at a time, on the thread that asks; one that began after a change speaks for it."""

    def __init__(self, bus: Bus, versions: Callable[[], Mapping[str, int]], *, look_s: float = LOOK_S) -> None:
        self._bus = bus
        self._versions = versions
        self._look_s = look_s
        self._reloads: dict[str, list[Reload]] = {}
        self._seen: Mapping[str, int] = {}
        self._reloading = threading.Lock()
        self._counting = threading.Lock()
        self._asked = 0
        self._done: dict[str, int] = {}
        self._closing = threading.Event()
        self._trouble: type[Exception] | None = None
        self._looker = threading.Thread(target=self._look, name="turnpike-refresh", daemon=True)
        # Of its own, so that a sibling's word does not queue behind whatever else is done on threads.
        self._threads = ThreadPoolExecutor(1, "turnpike-changed")
        bus.handle(CHANGED, self._told)

    def on(self, room: str, reload: Reload) -> None:
        """What to do, on a thread, when the room (a row of `control`) has changed."""
        self._reloads.setdefault(room, []).append(reload)

    def open(self) -> None:
        """Begins to look. What was read before this is taken as read at any version: the first look reads it anew."""
        self._looker.start()

    def close(self) -> None:
        self._closing.set()
        if self._looker.is_alive():
            self._looker.join()
        self._threads.shutdown()

    def changed(self, rooms: Iterable[str]) -> tuple[str, ...]:
        """From a thread, after the commit: here at once, and in every sibling. Answers those that have not confirmed
        within a second; they find it by looking.
        """
        names = sorted(rooms)
        if self._bus.alone:
            self._reload(names)
            return ()
        siblings = self._bus.siblings()
        telling = self._bus.telling(CHANGED, names, CONFIRM_S_MAX)
        self._reload(names)
        confirmed = telling.result(CONFIRM_S_MAX + LOOP_LATE_S_MAX)
        live = set(self._bus.siblings())
        late = tuple(name for name in siblings if name not in confirmed and name in live)
        if late:
            log.warning("workers %s have not confirmed a change of %s within %g s", late, names, CONFIRM_S_MAX)
        return late

    async def _told(self, names: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, self._reload, names)

    def _reload(self, rooms: Iterable[str]) -> None:
        with self._counting:
            self._asked += 1
            ticket = self._asked
        with self._reloading:
            waiting = [room for room in rooms if self._done.get(room, 0) < ticket]
            if waiting:
                with self._counting:
                    begun = self._asked
                # Read before the reload: a change that falls between the two is read twice, never missed.
                seen = self._versions()
                self._run(waiting)
                self._done.update(dict.fromkeys(waiting, begun))
                self._seen = {**self._seen, **{room: seen[room] for room in waiting if room in seen}}

    def _run(self, rooms: Iterable[str]) -> None:
        for reload in dict.fromkeys(reload for room in rooms for reload in self._reloads.get(room, ())):
            reload()

    def _look(self) -> None:
        while not self._closing.wait(self._look_s):
            try:
                self._look_once()
            except Exception as error:
                # Whatever it was: a thread that ends would leave this worker with what it read last, for ever.
                if type(error) is not self._trouble:
                    log.exception("changes cannot be read from the database: what was read last is in force")
                self._trouble = type(error)
            else:
                self._trouble = None

    def _look_once(self) -> None:
        now, seen = self._versions(), self._seen
        rooms = [room for room, version in now.items() if seen.get(room) != version]
        if rooms:
            self._reload(rooms)


def reload_keys(store: Store, keyring: KeyRing) -> None:
    """By their difference: reading every key anew would take longer the more there are, at each change of one."""
    # In this order: a key that is taken out of the ring meanwhile, about to be revoked, is not put back.
    held = keyring.versions()
    there = store.key_versions()
    for key in store.keys_of([key_id for key_id, version in there.items() if held.get(key_id) != version]):
        keyring.put(key)
    for key_id in held.keys() - there.keys():
        keyring.drop(key_id)


def reload_prices(store: Store, roads: Roads, soon: Callable[[Callable[[], None]], object]) -> None:
    """Reads the price list here, on a thread, and has the event loop go over to it; returns when it has."""
    book = PriceBook(roads.table, store.price_list.live())
    done = threading.Event()

    def go_over() -> None:
        roads.reprice(book)
        done.set()

    soon(go_over)
    done.wait(LOOP_LATE_S_MAX)


def reload_tenancy(store: Store, tenancy: Tenancy) -> None:
    tenancy.replace(store.team_rules(), store.limits_of_models())


class ToldRing:
    """The key ring as the control plane changes it, from threads: here, and in every worker before it returns."""

    def __init__(self, keyring: KeyRing, refresh: Refresh, bus: Bus) -> None:
        self._keyring, self._refresh, self._bus = keyring, refresh, bus
        bus.handle(DROPPED, keyring.drop)

    def find(self, token_digest: bytes, now_at_us: int) -> Key | None:
        return self._keyring.find(token_digest, now_at_us)

    def put(self, key: Key) -> None:
        self._keyring.put(key)
        self._refresh.changed(("tenancy",))

    def drop(self, key_id: str) -> None:
        # Before the row says so: a worker that reads the row meanwhile honours the key until the change is told too.
        self._keyring.drop(key_id)
        self._bus.telling(DROPPED, key_id, CONFIRM_S_MAX).result(CONFIRM_S_MAX + LOOP_LATE_S_MAX)
