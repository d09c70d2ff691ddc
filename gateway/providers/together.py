"""Together serves open models as `vendor/model` and knows an output limit by its old name."""

from types import MappingProxyType
from typing import Final

from gateway.providers.row import ProviderDefaults

ROW: Final = ProviderDefaults(
    name="together",
    base_url="https://api.together.xyz/v1",
    key_env="TOGETHER_API_KEY",
    key_env_also=("TOGETHERAI_API_KEY",),
    renamed=MappingProxyType({"max_completion_tokens": "max_tokens"}),
)
