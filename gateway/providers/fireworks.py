"""Fireworks speaks OpenAI and names its models `accounts/ACCOUNT/models/MODEL`."""

from typing import Final

from gateway.providers.row import ProviderDefaults

ROW: Final = ProviderDefaults(
    name="fireworks",
    base_url="https://api.fireworks.ai/inference/v1",
    key_env="FIREWORKS_API_KEY",
    key_env_also=("FIREWORKS_AI_API_KEY",),
    known_models=("accounts/fireworks/",),
)
