"""LiteLLM's config.yaml in, a turnpike.yaml out that `config check` takes, and a line for what is not in it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.cli.litellm.notes import Notes
from gateway.cli.litellm.proxy_config import Proxy, proxy_of
from gateway.cli.litellm.written import settings_of, text_of
from gateway.config.document import parse

ENVIRON = {"HOME": "/nowhere"}


def brought(config: str) -> tuple[Proxy, list[str]]:
    """What it comes to; that it is a configuration of ours is part of every test."""
    notes = Notes()
    proxy = proxy_of(parse(config, "config.yaml").tree, notes)
    settings, wrong = settings_of(text_of(proxy.tree), "turnpike.yaml", ENVIRON, proxy.tree)
    assert (settings is not None, wrong) == (True, ())
    return proxy, notes.lines


def models(*entries: str) -> str:
    return "model_list:\n" + "".join(f"  - {entry}\n" for entry in entries)


def test_a_model_its_provider_and_its_credential_come_over() -> None:
    proxy, lines = brought(
        models("{model_name: gpt, litellm_params: {model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY}}")
        + "general_settings: {master_key: os.environ/LITELLM_MASTER_KEY}\n"
    )
    assert proxy.tree == {
        "auth": {"admin_key": "env:LITELLM_MASTER_KEY"},
        "providers": {"openai": {"api_key": "env:OPENAI_API_KEY"}},
        "models": {"gpt": [{"provider": "openai", "model": "gpt-4o"}]},
    }
    assert lines == ["master_key: administrates here, and opens no model: make a key for programs that use it"]


@pytest.mark.parametrize(
    ("params", "provider", "row"),
    [
        ("{model: gpt-4o}", "openai", {}),
        ("{model: claude-sonnet-4-5}", "anthropic", {}),
        ("{model: together_ai/llama, api_key: k}", "together", {"api_key": "k"}),
        ("{model: m, custom_llm_provider: groq}", "groq", {}),
        ("{model: ollama/llama3, api_base: 'http://box:11434'}", "box-11434", {"base_url": "http://box:11434/v1"}),
        ("{model: hosted_vllm/qwen, api_base: 'http://gpu.lab/v1/'}", "gpu.lab", {"base_url": "http://gpu.lab/v1"}),
        ("{model: openai/q, api_base: 'https://api.openai.com/v1'}", "openai", {}),
        (
            "{model: openai/gpt-4o, organization: org-1, extra_headers: {X-Team: a}}",
            "openai",
            {"headers": {"openai-organization": "org-1", "x-team": "a"}},
        ),
    ],
)
def test_providers_by_their_prefix_their_address_or_the_models_own_name(
    params: str, provider: str, row: dict[str, Any]
) -> None:
    proxy, lines = brought(models(f"{{model_name: m, litellm_params: {params}}}"))
    assert proxy.tree["providers"] == {provider: row}
    assert proxy.tree["models"]["m"][0]["provider"] == provider
    assert lines == []


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ("{model: azure/gpt, api_base: 'https://x.example'}", "the provider 'azure' is none that this release"),
        ("{model: bedrock/anthropic.claude}", "the provider 'bedrock' is none that this release"),
        ("{model: some-model}", "whose model 'some-model' is cannot be told"),
        ("{model: anthropic/claude, api_base: 'https://x.example'}", "anthropic at an address of its own"),
        ("{model: openai/m, api_base: os.environ/BASE}", "its address stands in 'env:BASE'"),
        ("{api_key: x}", "litellm_params.model is missing"),
    ],
)
def test_what_cannot_be_reached_is_told_and_left_out(params: str, told: str) -> None:
    proxy, lines = brought(models(f"{{model_name: m, litellm_params: {params}}}"))
    assert "models" not in proxy.tree
    (line,) = lines
    assert line.startswith(f"model_list[0] (m): {told}")


def test_two_keys_by_turns_are_keys_of_one_provider() -> None:
    proxy, _ = brought(
        models(
            "{model_name: m, litellm_params: {model: openai/a, api_key: k1, rpm: 3}}",
            "{model_name: m, litellm_params: {model: openai/a, api_key: k2, rpm: 3}}",
            "{model_name: m, litellm_params: {model: groq/b, api_key: g, rpm: 2}}",
        )
    )
    assert proxy.tree["providers"]["openai"] == {"api_keys": [{"key": "k1"}, {"key": "k2"}]}
    assert proxy.tree["models"]["m"] == [
        {"provider": "openai", "model": "a", "weight": 3},
        {"provider": "groq", "model": "b", "weight": 1},
    ]


def test_two_keys_for_different_models_are_two_providers() -> None:
    proxy, _ = brought(
        models(
            "{model_name: m, litellm_params: {model: openai/a, api_key: k1}}",
            "{model_name: n, litellm_params: {model: openai/a, api_key: k2}}",
        )
    )
    assert proxy.tree["providers"] == {
        "openai": {"api_key": "k1"},
        "openai-2": {"base_url": "https://api.openai.com/v1", "api_key": "k2"},
    }
    assert proxy.tree["models"]["n"] == [{"provider": "openai-2", "model": "a"}]


@pytest.mark.parametrize(
    ("weights", "shares"),
    [(("weight: 0.3", "weight: 0.7"), [3, 7]), (("rpm: 1000", "rpm: 500"), [2, 1]), (("tpm: 10", ""), [1, 0])],
)
def test_weights_are_shares_in_whole_numbers(weights: tuple[str, str], shares: list[int]) -> None:
    proxy, _ = brought(
        models(
            *(
                f"{{model_name: m, litellm_params: {{model: {name}/a, {weight}}}}}"
                for name, weight in zip(("groq", "xai"), weights, strict=True)
            )
        )
    )
    assert [row["weight"] for row in proxy.tree["models"]["m"]] == shares


def test_prices_are_dollars_per_million_and_exact() -> None:
    proxy, lines = brought(
        models(
            "{model_name: m, litellm_params: {model: groq/a, input_cost_per_token: 0.0000006, "
            "output_cost_per_token: 2.4e-06}, model_info: {cache_read_input_token_cost: 1.5e-07}}",
            "{model_name: e, litellm_params: {model: groq/e}, "
            "model_info: {mode: embedding, input_cost_per_token: 2e-8}}",
            "{model_name: half, litellm_params: {model: groq/h, input_cost_per_token: 2e-8}}",
        )
    )
    price = {"input": "0.6", "output": "2.4", "cached_input": "0.15"}
    assert proxy.tree["models"]["m"] == [{"provider": "groq", "model": "a", "price": price}]
    assert "price: {input: 0.6" in text_of(proxy.tree) or "input: 0.6\n" in text_of(proxy.tree)
    assert proxy.tree["models"]["e"][0]["price"] == {"input": "0.02", "output": "0"}
    assert "price" not in proxy.tree["models"]["half"][0]
    assert lines == ["model half: input_cost_per_token: a price here has an input and an output; the table's counts"]


def test_fallbacks_aliases_and_default_fallbacks() -> None:
    proxy, lines = brought(
        models(*(f"{{model_name: {name}, litellm_params: {{model: groq/{name}}}}}" for name in "abc"))
        + "litellm_settings: {fallbacks: [{a: [b, gone]}], default_fallbacks: [c]}\n"
        "router_settings: {model_group_alias: {best: a}, fallbacks: [{b: [c]}], num_retries: 3}\n"
    )
    assert proxy.tree["models"]["best"] == proxy.tree["models"]["a"]
    assert proxy.tree["routing"]["fallbacks"] == {"a": ["b"], "b": ["c"], "best": ["c"]}
    assert lines == [
        "fallbacks of a: gone is not in model_list",
        "router_settings.num_retries: has no counterpart here; docs/configuration.md has what there is",
    ]


def test_wildcards_are_providers() -> None:
    proxy, lines = brought(
        models(
            "{model_name: 'openai/*', litellm_params: {model: 'openai/*', api_key: k}}",
            "{model_name: 'fast-*', litellm_params: {model: 'groq/*'}}",
        )
    )
    assert "models" not in proxy.tree
    assert set(proxy.tree["providers"]) == {"openai", "groq"}
    assert lines == ["model fast-*: callers name groq's models as groq/MODEL here"]


def test_groups_the_zone_and_what_nothing_here_reads() -> None:
    proxy, lines = brought(
        models(
            "{model_name: m, litellm_params: {model: groq/a, temperature: 0.1}, model_info: {access_groups: [beta]}}"
        )
        + "litellm_settings: {timezone: Europe/Berlin, callbacks: [otel], request_timeout: 90}\n"
        "environment_variables: {REDIS_HOST: x}\nmcp_servers: {a: b}\n"
    )
    assert (proxy.groups, proxy.timezone) == ({"beta": ["m"]}, "Europe/Berlin")
    assert proxy.tree["providers"]["groq"] == {"timeouts": {"total_s": 90}}
    assert lines == [
        "model_list[0] (m): temperature: nothing here is set for one deployment alone",
        "mcp_servers: has no counterpart here",
        "litellm_settings.callbacks: has no counterpart here; docs/configuration.md has what there is",
        "environment_variables: set REDIS_HOST before `turnpike serve`",
    ]


@pytest.mark.parametrize("config", ["", "model_list: x", "model_list: [a]", "general_settings: []"])
def test_a_configuration_that_says_little_is_little(config: str) -> None:
    proxy, _ = brought(config)
    assert proxy.tree == {}


def test_prices_of_long_prompts_are_tiers() -> None:
    proxy, _ = brought(
        models(
            "{model_name: m, litellm_params: {model: groq/a}, model_info: {input_cost_per_token: 1e-06, "
            "output_cost_per_token: 2e-06, input_cost_per_token_above_200k_tokens: 2e-06, "
            "output_cost_per_token_above_200k_tokens: 4e-06, input_cost_per_token_above_9k_tokens: 1e-06}}"
        )
    )
    tiers = [{"above_input_tokens": 200_000, "input": "2", "output": "4"}]
    assert proxy.tree["models"]["m"][0]["price"] == {"input": "1", "output": "2", "tiers": tiers}


def test_fallbacks_of_everything_are_written_out() -> None:
    proxy, lines = brought(
        models(*(f"{{model_name: {name}, litellm_params: {{model: groq/{name}}}}}" for name in "ab"))
        + "router_settings: {fallbacks: [{'*': [b]}, {gone: [a]}], routing_strategy: least-busy, "
        "model_group_alias: {x: gone}}\n"
    )
    assert proxy.tree["routing"]["fallbacks"] == {"a": ["b"]}
    assert lines == [
        "router_settings.routing_strategy: least-busy: requests go by weight here, and around what fails",
        "model_group_alias x: means gone, which is not in model_list",
        "fallbacks of *: are written out here, for the names that there are",
        "fallbacks of gone: is not in model_list",
    ]


def test_weights_beyond_reason_and_of_nothing() -> None:
    def weights(*given: object) -> list[int]:
        proxy, _ = brought(
            models(
                *(
                    f"{{model_name: m, litellm_params: {{model: {name}/a, weight: {weight}}}}}"
                    for name, weight in zip(("groq", "xai"), given, strict=True)
                )
            )
        )
        return [row["weight"] for row in proxy.tree["models"]["m"]]

    assert weights(0, 0) == [1, 1]
    assert weights(3_000_001, 1) == [1_000_000, 1]
