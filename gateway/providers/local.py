"""A vLLM replica of our own: no key, an address that its supervisor tells, the whole of OpenAI's dialect."""

from typing import Final

from gateway.providers.row import ProviderDefaults

ROW: Final = ProviderDefaults(name="local", base_url="", key_env=None)
