"""The command line and the environment that a replica's vLLM is started with. Pure."""

import fnmatch
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final, Literal

Device = Literal["cpu", "cuda"]
Argument = str | int | float | bool | list["Argument"] | tuple["Argument", ...] | Mapping[str, "Argument"]

# The supervisor decides these: another value would hide the replica from it, or open it to the network.
OURS: Final = frozenset({"host", "port", "uds", "served-model-name", "api-key", "model", "root-path"})

# The gateway's own secrets are none of vLLM's business. An engine that is asked for VLLM_API_KEY would also refuse us.
WITHHELD: Final = ("TURNPIKE_*", "*_API_KEY", "*_SECRET", "*_PASSWORD", "DATABASE_URL", "REDIS_URL")
# They belong to the gateway's interpreter and would lead vLLM's into the wrong packages.
FOREIGN: Final = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")

# A stream that is open when vLLM is asked to end may finish; without this vLLM cuts it off at once.
SHUTDOWN_S: Final = 30


@dataclass(frozen=True, slots=True)
class LocalModel:
    name: str
    model: str
    replicas: int = 1
    args: Mapping[str, Argument] = field(default_factory=dict)
    start: Literal["on_demand", "eager"] = "on_demand"

    @property
    def embeds(self) -> bool:
        """Such a model completes nothing, so it proves itself with an embedding."""
        return self.args.get("runner") == "pooling" or self.args.get("task") in {"embed", "embedding"}


def spelled(name: str) -> str:
    return name.removeprefix("--").replace("_", "-")


def flag(name: str, value: Argument) -> tuple[str, ...]:
    option = f"--{spelled(name)}"
    match value:
        case True:
            return (option,)
        case False:
            return (f"--no-{spelled(name)}",)
        case list() | tuple():
            return (option, *(_text(part) for part in value))
        case _:
            text = _text(value)
            # A value that looks like an option is only read as a value when it hangs on the option's own.
            return (f"{option}={text}",) if text.startswith("-") else (option, text)


def _text(value: Argument) -> str:
    if isinstance(value, Mapping | bool | list | tuple):
        return json.dumps(value)
    return str(value)


def refusal(model: LocalModel) -> str | None:
    """What is wrong with the model's arguments, or None."""
    for name in model.args:
        if spelled(name) in OURS:
            return f"local.models.{model.name}.args.{name}: Turnpike sets this itself; remove it"
    if model.replicas < 1:
        return f"local.models.{model.name}.replicas: must be at least 1, not {model.replicas}"
    return None


def serve_command(command: tuple[str, ...], model: LocalModel, port: int, device: Device) -> tuple[str, ...]:
    defaults: dict[str, Argument] = {"enable-prompt-tokens-details": True, "shutdown-timeout": SHUTDOWN_S}
    if device == "cpu":
        # Compiling costs half a minute at each first start and more at a first use; a CPU gains little from it.
        defaults["enforce-eager"] = True
    arguments = defaults | {spelled(name): value for name, value in model.args.items()}
    options = [part for name, value in arguments.items() for part in flag(name, value)]
    where = ("--served-model-name", model.name, "--host", "127.0.0.1", "--port", str(port))
    return (*command, model.model, *where, *options)


def serve_environment(
    environ: Mapping[str, str], command: tuple[str, ...], device: Device, *, model_is_local: bool
) -> dict[str, str]:
    defaults = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_LOGGING_COLOR": "0"}
    if model_is_local:
        # All that is needed lies here: a hub that does not answer must not delay or prevent the start.
        defaults |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    if device == "cpu":
        # The first request for logprobs would otherwise stop everybody for seconds while it compiles.
        defaults |= {"VLLM_TARGET_DEVICE": "cpu", "TORCHDYNAMO_DISABLE": "1"}
    kept = {name: value for name, value in environ.items() if not _withheld(name)}
    environment = defaults | kept
    folder = str(PurePath(command[0]).parent)
    if folder != ".":
        # vLLM calls compilers (ninja) that lie beside it.
        environment["PATH"] = f"{folder}:{environment.get('PATH', '/usr/local/bin:/usr/bin:/bin')}"
    return environment


def _withheld(name: str) -> bool:
    return name in FOREIGN or any(fnmatch.fnmatchcase(name, pattern) for pattern in WITHHELD)
