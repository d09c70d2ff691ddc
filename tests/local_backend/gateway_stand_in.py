"""A process that keeps a local model as the gateway does, in order to be killed.

    gateway_stand_in.py '{"command": […], "directory": "…", "model": {…}, "device": "cpu"}'

Prints the record file of the replica when it is ready, then waits for its end.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import uvloop

from local_backend.supervisor import LocalModel, Supervisor


async def main(wanted: dict[str, object]) -> None:
    fields = wanted["model"]
    assert isinstance(fields, dict)
    directory = Path(str(wanted["directory"]))
    command = wanted["command"]
    assert isinstance(command, list)
    supervisor = Supervisor(
        [LocalModel(**fields)],
        tuple(command),
        directory,
        device="cpu",
        environ=dict(os.environ),  # noqa: TID251
        clock=lambda: time.time_ns() // 1000,  # noqa: TID251
        draw=lambda: 0.0,
    )
    async with supervisor:
        await supervisor.ensure_ready(fields["name"])
        print(*(directory / "replicas").glob("*.json"), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    # On the loop that the gateway has.
    uvloop.run(main(json.loads(sys.argv[1])))
