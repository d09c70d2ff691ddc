"""Google's Gemini through its OpenAI-compatible endpoint, which answers 400 to any field that it does not know."""

from typing import Final

from gateway.providers.row import ProviderDefaults

ROW: Final = ProviderDefaults(
    name="gemini",
    base_url="https://generativelanguage.googleapis.com/v1beta/openai",
    key_env="GEMINI_API_KEY",
    key_env_also=("GOOGLE_API_KEY",),
    unsupported=frozenset({"frequency_penalty", "logit_bias", "logprobs", "presence_penalty", "seed", "top_logprobs"}),
    dropped=frozenset({"metadata", "prompt_cache_key", "safety_identifier", "store"}),
    known_models=("gemini-", "gemma-", "models/gemini-"),
)
