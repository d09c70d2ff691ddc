"""Ollama on this machine: no key, whatever models its owner pulled, an output limit by its old name."""

from types import MappingProxyType
from typing import Final

from gateway.providers.row import ProviderDefaults

ROW: Final = ProviderDefaults(
    name="ollama",
    base_url="http://127.0.0.1:11434/v1",
    key_env=None,
    unsupported=frozenset({"audio", "logit_bias", "modalities", "prediction"}),
    renamed=MappingProxyType({"max_completion_tokens": "max_tokens"}),
)
