"""Mistral answers 422 to any field outside its own schema and sends a stream's usage unasked."""

from types import MappingProxyType
from typing import Final

from gateway.providers.row import ProviderDefaults

ROW: Final = ProviderDefaults(
    name="mistral",
    base_url="https://api.mistral.ai/v1",
    key_env="MISTRAL_API_KEY",
    unsupported=frozenset({"audio", "logit_bias", "logprobs", "modalities", "top_logprobs"}),
    dropped=frozenset({"safety_identifier", "service_tier", "store", "user"}),
    renamed=MappingProxyType({"max_completion_tokens": "max_tokens", "seed": "random_seed"}),
    stream_usage=False,
    known_models=(
        "codestral-",
        "devstral-",
        "labs-",
        "magistral-",
        "ministral-",
        "mistral-",
        "open-mistral-",
        "open-mixtral-",
        "pixtral-",
        "voxtral-",
    ),
)
