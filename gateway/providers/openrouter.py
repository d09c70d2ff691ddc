"""OpenRouter fits a request to whoever serves it, so nothing is refused here; its models are named `vendor/model`."""

from typing import Final

from gateway.providers.row import ProviderDefaults

ROW: Final = ProviderDefaults(
    name="openrouter",
    base_url="https://openrouter.ai/api/v1",
    key_env="OPENROUTER_API_KEY",
)
