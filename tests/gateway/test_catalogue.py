"""The list of models is what a key may use, and says of each what every one of its deployments can keep."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, cast

import pytest

from billing.limits import Limit
from billing.price import Price
from billing.price_book import PriceBook
from billing.price_rows import ListedPrice
from billing.price_table import UsdRow
from billing.tenancy import Tenancy
from gateway.catalogue import key_view, model_page, model_view
from gateway.errors import ModelNotAllowed, ModelNotFound
from routing.deployments import Deployment, Pool
from tests.gateway.test_roads import key, roads

if TYPE_CHECKING:
    from gateway.roads import Roads
    from gateway.services import Services

NOW_US = 1_700_000_100_000_000


@dataclass(frozen=True, slots=True)
class Rooms:
    """What a catalogue reads of the services."""

    roads: Roads
    tenancy: Tenancy = field(default_factory=Tenancy)
    started_at_us: int = 1_700_000_000_000_000

    def clock(self) -> int:
        return NOW_US


def services(made: Roads) -> Services:
    return cast("Services", Rooms(made))


def chat() -> Roads:
    return roads(
        "openai",
        "custom",
        pools={
            "chat": ("openai/gpt-4o-mini", "openai/gpt-4o"),
            "odd": ("openai/gpt-4o", "custom/x"),
            "own": ("custom/y",),
        },
    )


def test_the_page_holds_what_the_key_may_use() -> None:
    page = model_page(services(chat()), key())
    assert page["object"] == "list"
    assert [entry["id"] for entry in page["data"]] == ["chat", "odd", "own"]
    assert [entry["id"] for entry in model_page(services(chat()), key("o*"))["data"]] == ["odd", "own"]


def test_an_entry_has_openais_fields_and_what_every_deployment_keeps() -> None:
    made = chat()
    entry = model_view(services(made), key(), "chat")
    small, large = (made.roads[each.id] for each in made.pools["chat"].deployments)
    assert small.listing
    assert large.listing
    assert (entry["object"], entry["created"], entry["owned_by"]) == ("model", 1_700_000_000, "openai")
    assert entry["context_length"] == min(small.listing.context_length or 0, large.listing.context_length or 0)
    assert set(entry["capabilities"]) == set(small.listing.capabilities) & set(large.listing.capabilities)
    assert entry["pricing"]["prompt"] == "0.0000025"  # gpt-4o's, the dearer


def test_a_price_that_is_not_known_of_each_is_not_told() -> None:
    entry = model_view(services(chat()), key(), "odd")
    assert entry["pricing"] is None
    assert entry["owned_by"] == "turnpike"
    assert entry["providers"] == ["custom", "openai"]
    unknown = model_view(services(chat()), key(), "own")
    assert (unknown["context_length"], unknown["max_output_tokens"], unknown["capabilities"]) == (None, None, [])


@pytest.mark.parametrize(("pico", "text"), [(0, "0"), (1, "0.000000000001"), (10**12, "1"), (1_500_000_000_000, "1.5")])
def test_prices_are_exact_decimals_without_idle_zeros(pico: int, text: str) -> None:
    made = roads("custom")
    deployment = Deployment("p[0]:custom/x", "custom", "x")
    made.roads[deployment.id] = made.road(deployment, Price("mine", pico, pico, pico, pico, pico, pico, pico))
    made.pools["p"] = Pool("p", (deployment,))
    assert model_view(services(made), key(), "p")["pricing"]["prompt"] == text


def test_a_name_that_is_not_there_or_not_allowed_is_refused() -> None:
    with pytest.raises(ModelNotFound, match="GET /v1/models"):
        model_view(services(chat()), key(), "nothing")
    with pytest.raises(ModelNotAllowed):
        model_view(services(chat()), key("own"), "chat")


def test_a_key_is_told_about_itself() -> None:
    told = key_view(services(chat()), key("own"))
    assert (told["id"], told["models"], told["models_allowed"]) == ("key_1", ["own"], ["own"])
    assert told["created_at"] == "1970-01-01T00:00:00Z"
    assert told["expires_at"] is None


def test_a_listed_price_is_told_from_its_instant_on_and_to_its_team() -> None:
    made = chat()
    rates = UsdRow(Decimal("7.5"), Decimal(9))
    made.reprice(PriceBook(made.table, [ListedPrice("price_1", "custom", "y", "team_a", rates, NOW_US, "contract", 1)]))
    of_team = replace(key(), team_id="team_a")
    assert model_view(services(made), of_team, "own")["pricing"]["prompt"] == "0.0000075"
    assert model_view(services(made), key(), "own")["pricing"] is None
    made.reprice(PriceBook(made.table, [ListedPrice("price_1", "custom", "y", None, rates, NOW_US + 1, "contract", 1)]))
    assert model_view(services(made), of_team, "own")["pricing"] is None


def test_a_key_is_told_its_own_limits_and_the_configured_ones_where_it_has_none() -> None:
    s = cast("Services", Rooms(chat(), Tenancy(defaults=Limit(requests_per_minute=60, concurrency_max=4))))
    own = {"tokens_per_minute": 1000, "concurrency_max": 2, "models": {"chat": {"requests_per_minute": 5}}}
    assert key_view(s, replace(key(), limits=own))["limits"] == {
        "requests_per_minute": 60,
        "tokens_per_minute": 1000,
        "concurrency_max": 2,
        "models": {"chat": {"requests_per_minute": 5, "tokens_per_minute": None, "concurrency_max": None}},
    }
    assert key_view(services(chat()), key())["limits"] == {
        "requests_per_minute": None,
        "tokens_per_minute": None,
        "concurrency_max": None,
    }
