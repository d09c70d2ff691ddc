"""One worker among several: takes over what its parent hands it, serves, and ends with its parent."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

import uvloop

from gateway.greeting import GREETING
from gateway.log import configure_log
from gateway.workers.bus import PARENT, Bus
from gateway.workers.duty import begin
from gateway.workers.handover import CANNOT, UP, Handover, received
from gateway.workers.refusal import CannotServe
from local_backend.guardian import PR_SET_PDEATHSIG, prctl


def main() -> int:
    handover = received(sys.stdin.buffer)
    # A parent that dies, however it dies, takes its workers along: two gateways never share journals and port.
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != handover.parent_pid:
        return 1
    configure_log()
    return uvloop.run(_run(handover))


async def _run(handover: Handover) -> int:
    worker = handover.worker
    bus = Bus(worker.bus, worker.boot_id)
    try:
        duty = await begin(handover.settings, handover.environ, handover.admin_secret, worker, bus)
    except CannotServe as reason:
        await bus.ask(PARENT, CANNOT, (worker.index, str(reason)), wait_s=None)
        return 1

    async def greeting(_: Any) -> Mapping[str, Any]:
        return await asyncio.to_thread(duty.greeting)

    bus.handle(GREETING, greeting)
    await bus.ask(PARENT, UP, (worker.index, worker.boot_id), wait_s=None)
    await duty.until_told()
    return 0
