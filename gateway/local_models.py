"""Builds the supervisor of this machine's models from the settings."""

import shutil
from collections.abc import Callable, Mapping

from gateway.config.schema import Settings
from local_backend.install import detect_device, executable, installed_device
from local_backend.supervisor import LocalModel, ReplicaState, Supervisor


def supervisor_of(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    clock: Callable[[], int],
    draw: Callable[[], float],
    tell: Callable[[ReplicaState], None] = lambda _: None,
) -> Supervisor:
    """The configured models; nothing is started yet. `tell` hears of each new state."""
    directory = settings.state.directory
    found = shutil.which("vllm")
    installed = None if settings.local.command else executable(directory)
    command = settings.local.command or installed or ((found, "serve") if found else ("vllm", "serve"))
    models = [
        LocalModel(name, row.model, row.replicas, row.args, row.start) for name, row in settings.local.models.items()
    ]
    return Supervisor(
        models,
        tuple(command),
        directory,
        device=(installed_device(directory) if installed else None) or detect_device(),
        environ=environ,
        clock=clock,
        draw=draw,
        tell=tell,
    )
