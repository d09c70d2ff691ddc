"""GET /v1/models: what the key may use, with OpenAI's fields and ours beside them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import openai

from tests.e2e.gateway import error_of

if TYPE_CHECKING:
    from tests.e2e.gateway import Gateway, Key


def test_the_list_has_openais_fields_and_ours(gateway: Gateway, key: Key) -> None:
    document = gateway.client.get("/v1/models", headers=key.bearer).json()
    assert document["object"] == "list"
    models = {row["id"]: row for row in document["data"]}
    assert {"pool", "headed", "dead-then-two"} <= models.keys()
    pool = models["pool"]
    assert pool["object"] == "model"
    assert isinstance(pool["created"], int)
    assert isinstance(pool["owned_by"], str)
    assert {"context_length", "max_output_tokens", "pricing", "capabilities"} <= pool.keys()


def test_pricing_is_exact_text(gateway: Gateway, key: Key) -> None:
    pricing = gateway.client.get("/v1/models/headed", headers=key.bearer).json()["pricing"]
    amounts = {name: value for name, value in pricing.items() if value is not None}
    assert all(isinstance(value, str) for value in amounts.values()), "money in JSON is a decimal string"
    # 1.2345 dollars per million output tokens, a token or a million of them.
    assert any(Decimal(value) in {Decimal("1.2345"), Decimal("0.0000012345")} for value in amounts.values())


def test_one_model_is_shown_alone_also_by_a_name_with_a_slash(gateway: Gateway, key: Key) -> None:
    assert gateway.client.get("/v1/models/pool", headers=key.bearer).json()["id"] == "pool"
    assert gateway.client.get("/v1/models/one/pinned-d", headers=key.bearer).status_code in {200, 404}
    error_of(gateway.client.get("/v1/models/none-such", headers=key.bearer), 404, "model_not_found")


def test_a_key_sees_only_what_it_may_use(gateway: Gateway) -> None:
    key = gateway.create_key(models_allowed=["pool"])
    rows = gateway.client.get("/v1/models", headers=key.bearer).json()["data"]
    assert [row["id"] for row in rows] == ["pool"]
    error_of(gateway.client.get("/v1/models/headed", headers=key.bearer), 403, "model_not_allowed")
    error_of(gateway.client.get("/v1/models"), 401, "invalid_api_key")


def test_the_official_client_lists_and_retrieves(gateway: Gateway, key: Key) -> None:
    with openai.OpenAI(base_url=gateway.v1, api_key=key.secret, max_retries=0) as client:
        assert "pool" in {row.id for row in client.models.list()}
        assert client.models.retrieve("pool").id == "pool"
