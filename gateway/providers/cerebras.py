"""Cerebras answers 400 to penalties and biases and knows an output limit by its new name."""

from types import MappingProxyType
from typing import Final

from gateway.providers.row import ProviderDefaults

ROW: Final = ProviderDefaults(
    name="cerebras",
    base_url="https://api.cerebras.ai/v1",
    key_env="CEREBRAS_API_KEY",
    unsupported=frozenset({"frequency_penalty", "logit_bias", "presence_penalty"}),
    renamed=MappingProxyType({"max_tokens": "max_completion_tokens"}),
)
