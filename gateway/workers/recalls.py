"""Brings back what other workers have leased of a budget and do not use, when one of them is short of it."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from billing.wallets import Wallets
from gateway.workers.bus import Bus

RECALL: Final = "recall"
# A worker that is stopped returns nothing; who is short of its slice does not wait for it.
RECALL_S_MAX: Final = 0.25


class Recalls:
    def __init__(self, bus: Bus, wallets: Wallets) -> None:
        self._bus, self._wallets = bus, wallets
        self._asking: set[asyncio.Task[None]] = set()
        bus.handle(RECALL, self._give_back)
        wallets.recall = self.ask

    def ask(self, accounts: Sequence[int]) -> None:
        """On the event loop's thread; what came back is looked for as soon as every worker has answered."""
        if self._bus.alone:
            return
        task = asyncio.get_running_loop().create_task(self._ask(list(accounts)))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask(self, accounts: list[int]) -> None:
        await self._bus.tell_all(RECALL, accounts, RECALL_S_MAX)
        self._wallets.pump()

    async def _give_back(self, accounts: Any) -> None:
        done = asyncio.Event()
        self._wallets.recalled(accounts, done.set)
        await done.wait()
