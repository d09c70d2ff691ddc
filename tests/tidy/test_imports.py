"""Starting Turnpike loads nothing heavy, and the modules that decide are held to be pure."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import pytest

from tests.tidy.repository import PACKAGES, ROOT, dotted, importable_modules, modules, settings

HEAVY: Final = {
    *("torch", "transformers", "sentence_transformers", "faiss", "numpy", "pandas", "sklearn", "vllm"),
    *("litellm", "openai", "httpx", "requests", "aiohttp", "genai_prices", "opentelemetry.sdk", "pytest"),
}
# Decisions: they take time, ids, chance and bytes as arguments. A name here is a promise; the contract keeps it.
PURE: Final = {
    "billing.alerts",
    "billing.budgets",
    "billing.cost_export",
    "billing.demands",
    "billing.counters",
    "billing.entry_rows",
    "billing.journal_records",
    "billing.keys",
    "billing.limits",
    "billing.money",
    "billing.litellm_map",
    "billing.price",
    "billing.price_book",
    "billing.price_import",
    "billing.price_rows",
    "billing.reconcile",
    "billing.recovery",
    "billing.refusals",
    "billing.roles",
    "billing.seal",
    "billing.rates",
    "billing.tag_rules",
    "billing.tenancy",
    "billing.usage_span",
    "cache.exact",
    "cache.fingerprint",
    "cache.policy",
    "gateway.chat_request",
    "gateway.providers.*",
    "gateway.redact",
    "gateway.rewrite",
    "gateway.usage",
    "gateway.wire.http1",
    "gateway.wire.sse",
    "local_backend.flags",
    "local_backend.state",
    "routing.*",
}


@pytest.mark.process
def test_importing_every_module_loads_nothing_heavy() -> None:
    names = importable_modules(*PACKAGES)
    program = (
        "import sys, importlib\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(*sorted(sys.modules.keys() & {HEAVY!r}))"
    )
    command = [sys.executable, "-c", program]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert loaded.stderr == ""
    assert loaded.stdout.split() == []


def test_the_contract_for_pure_modules_names_each_of_them_that_exists() -> None:
    contracts = settings()["tool"]["importlinter"]["contracts"]
    (held,) = (contract["source_modules"] for contract in contracts if contract["type"] == "forbidden")
    existing = {dotted(module) for module in modules()}
    expected = {name for name in PURE if name.endswith(".*") or name in existing}
    assert sorted(expected - set(held)) == [], "add these to the contract on pure modules in pyproject.toml"
