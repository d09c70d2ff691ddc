"""Anthropic through its OpenAI-compatible endpoint, which ignores rather than rejects; so we reject what it ignores."""

from typing import Final

from gateway.providers.row import ProviderDefaults

ROW: Final = ProviderDefaults(
    name="anthropic",
    base_url="https://api.anthropic.com/v1",
    key_env="ANTHROPIC_API_KEY",
    unsupported=frozenset(
        {
            "audio",
            "frequency_penalty",
            "logit_bias",
            "logprobs",
            "modalities",
            "prediction",
            "presence_penalty",
            "response_format",
            "top_logprobs",
        }
    ),
    known_models=("claude-",),
)
