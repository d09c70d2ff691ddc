"""OpenAI: the dialect itself, so nothing is renamed and nothing refused; what a model cannot take OpenAI says."""

from typing import Final

from gateway.providers.row import ProviderDefaults

ROW: Final = ProviderDefaults(
    name="openai",
    base_url="https://api.openai.com/v1",
    key_env="OPENAI_API_KEY",
    limit_field="max_completion_tokens",  # reasoning models refuse the older name
    known_models=("gpt-", "chatgpt-", "ft:gpt-", "o1", "o3", "o4", "codex-", "computer-use-", "text-embedding-"),
    # Open weights: OpenAI's own API does not serve them.
    foreign_models=("gpt-oss",),
)
