"""Where a deployment of LiteLLM's goes, in our words: a provider, a model there, a credential. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from gateway.providers.registry import ROWS, provider_of

if TYPE_CHECKING:
    from collections.abc import Mapping

# What stands before the first slash of `model`, or in `custom_llm_provider`.
KNOWN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "anthropic": "anthropic",
        "cerebras": "cerebras",
        "deepseek": "deepseek",
        "fireworks_ai": "fireworks",
        "gemini": "gemini",
        "groq": "groq",
        "mistral": "mistral",
        "ollama": "ollama",
        "ollama_chat": "ollama",
        "openai": "openai",
        "openrouter": "openrouter",
        "text-completion-openai": "openai",
        "together_ai": "together",
        "xai": "xai",
    }
)
# Servers that speak OpenAI's language at an address of their own.
COMPATIBLE: Final = frozenset(
    {
        "custom_openai",
        "hosted_vllm",
        "litellm_proxy",
        "llamafile",
        "lm_studio",
        "openai_like",
        "vllm",
        "xinference",
    }
)
# Whose own address is not OpenAI's language; one elsewhere would be asked in theirs.
OWN_LANGUAGE: Final = frozenset({"anthropic", "gemini"})
_REFERENCE: Final = re.compile(r"os\.environ/(.+)", re.DOTALL)
_NO_NAME_CHARS: Final = re.compile(r"[^A-Za-z0-9._-]+")


class NotConverted(ValueError):
    """Why a deployment stays behind."""


@dataclass(frozen=True, slots=True)
class Target:
    provider: str  # of ours, or what to call one with an address of its own
    model: str
    base_url: str | None
    api_key: str | None
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def place(self) -> tuple[object, ...]:
        """Two deployments with the same are at one provider."""
        return self.provider, self.base_url, self.headers


def reference(value: Any) -> Any:
    """LiteLLM's way to name a variable in ours."""
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return value if match is None else f"env:{match[1]}"


def target_of(params: Mapping[str, Any]) -> Target:
    """Raises `NotConverted`."""
    written = params.get("model")
    if not isinstance(written, str) or not written:
        raise NotConverted("litellm_params.model is missing")
    address = reference(params.get("api_base") or params.get("base_url"))
    named = params.get("custom_llm_provider")
    prefix, slash, rest = written.partition("/")
    if isinstance(named, str):
        theirs, model = named, written.removeprefix(f"{named}/")
    elif slash and (prefix in KNOWN or prefix in COMPATIBLE):
        theirs, model = prefix, rest
    elif (bare := provider_of(written, ROWS)) is not None:
        theirs, model = bare, written
    elif slash:
        theirs, model = prefix, rest
    else:
        raise NotConverted(f"whose model {written!r} is cannot be told; write PROVIDER/MODEL")
    return _target(theirs, model, address, params)


def _target(theirs: str, model: str, address: Any, params: Mapping[str, Any]) -> Target:
    api_key = reference(params.get("api_key"))
    headers = [*(params.get("extra_headers") or {}).items()]
    if params.get("organization"):
        headers.append(("openai-organization", params["organization"]))
    sent = tuple(sorted((str(name).lower(), str(reference(value))) for name, value in headers))
    ours = KNOWN.get(theirs, theirs if theirs in ROWS and ROWS[theirs].base_url else None)
    if address is None:
        if ours is None:
            raise NotConverted(f"the provider {theirs!r} is none that this release of Turnpike knows")
        return Target(ours, model, None, api_key, sent)
    if not isinstance(address, str) or address.startswith("env:"):
        raise NotConverted(f"its address stands in {address!r}: write the address into turnpike.yaml yourself")
    if ours is None and theirs not in COMPATIBLE:
        raise NotConverted(f"the provider {theirs!r} is none that this release of Turnpike knows")
    if ours in OWN_LANGUAGE:
        raise NotConverted(f"{theirs} at an address of its own is asked in its own language, which is not spoken here")
    address = address.rstrip("/")
    if ours is not None and address == ROWS[ours].base_url:
        return Target(ours, model, None, api_key, sent)
    if ours == "ollama" and not address.endswith("/v1"):
        address = f"{address}/v1"
    host = urlsplit(address).netloc.rpartition("@")[2] or "server"
    return Target(_NO_NAME_CHARS.sub("-", host).strip("-.")[:50] or "server", model, address, api_key, sent)
