"""Groq speaks OpenAI, less the fields that have to do with token probabilities."""

from typing import Final

from gateway.providers.row import ProviderDefaults

ROW: Final = ProviderDefaults(
    name="groq",
    base_url="https://api.groq.com/openai/v1",
    key_env="GROQ_API_KEY",
    unsupported=frozenset({"logit_bias", "logprobs", "top_logprobs"}),
    # Most of what it serves carries names that others use too; these are its own.
    known_models=("groq/", "llama-3.1-8b-instant", "llama-3.3-70b-versatile"),
)
