"""DeepSeek knows an output limit only by its old name, and would ignore the new one."""

from types import MappingProxyType
from typing import Final

from gateway.providers.row import ProviderDefaults

ROW: Final = ProviderDefaults(
    name="deepseek",
    base_url="https://api.deepseek.com/v1",
    key_env="DEEPSEEK_API_KEY",
    unsupported=frozenset({"logit_bias"}),
    renamed=MappingProxyType({"max_completion_tokens": "max_tokens"}),
    known_models=("deepseek-",),
)
