"""xAI speaks OpenAI; which fields a reasoning model cannot take, xAI says itself."""

from typing import Final

from gateway.providers.row import ProviderDefaults

ROW: Final = ProviderDefaults(
    name="xai",
    base_url="https://api.x.ai/v1",
    key_env="XAI_API_KEY",
    known_models=("grok-",),
)
