"""What a name leads to: configured pools, pinned models in every spelling, fallbacks within what a key may use."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pytest

import gateway.roads as roads_module
from billing.keys import Key
from billing.price import FREE, UNPRICED, Price
from billing.price_book import PriceBook
from billing.price_rows import ListedPrice
from billing.price_table import PriceTable, UsdRow
from gateway.providers.registry import ROWS
from gateway.providers.row import ProviderDefaults
from gateway.roads import DEMO, LOCAL, LocalRoads, Provider, Roads, Timeouts, forwardable, request_head
from gateway.wire.upstream import Origin
from gateway.wire.upstream import Pool as Connections
from local_backend.supervisor import Address, LocalModelFailed
from routing.credentials import KeySet
from routing.deployments import Deployment, Pool
from routing.health import Health

if TYPE_CHECKING:
    from collections.abc import Mapping


def provider(name: str) -> Provider:
    row = ROWS.get(name, ProviderDefaults(name, "", None))
    return Provider(name, None, (b"",), KeySet((1,)), Timeouts(), row, True, frozenset(), (), None)


def roads(
    *providers: str,
    pools: Mapping[str, tuple[str, ...]] | None = None,
    fallbacks: Mapping[str, tuple[str, ...]] | None = None,
    local: frozenset[str] = frozenset(),
) -> Roads:
    made = Roads({name: provider(name) for name in providers}, {}, {}, fallbacks or {}, PriceTable(), local)
    for name, targets in (pools or {}).items():
        deployments = []
        for place, target in enumerate(targets):
            who, _, model = target.partition("/")
            deployment = Deployment(f"{name}[{place}]:{target}", who, model)
            made.roads[deployment.id] = made.road(deployment, None)
            deployments.append(deployment)
        made.pools[name] = Pool(name, tuple(deployments))
    return made


def key(*models: str) -> Key:
    return Key("key_1", "k", "tp-", b"", None, None, models, 1)


def targets(made: Roads, name: str) -> list[str] | None:
    named = made.named(name)
    return None if named is None else [each.id for each in named.pool.deployments]


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("openai/gpt-5-mini", "openai/gpt-5-mini"),
        ("openai:gpt-5-mini", "openai/gpt-5-mini"),
        ("openai/a/b:c", "openai/a/b:c"),
        ("custom/any:thing", "custom/any:thing"),
        ("gpt-5-mini", "openai/gpt-5-mini"),
        ("gpt-5-mini:tuned/x", "openai/gpt-5-mini:tuned/x"),
    ],
)
def test_a_pinned_name_is_read_at_its_first_separator(name: str, target: str) -> None:
    assert targets(roads("openai", "custom"), name) == [target]


@pytest.mark.parametrize(
    "name", ["", "/", "openai/", "nobody/gpt", "unheard-of", ":x", "openai", "local/x", "demo/other"]
)
def test_a_name_that_leads_nowhere(name: str) -> None:
    assert roads("openai", LOCAL, DEMO).named(name) is None


def test_a_configured_name_is_its_pool_and_wins_over_a_provider() -> None:
    made = roads("openai", "custom", pools={"chat": ("openai/a", "custom/b"), "openai/gpt-5": ("custom/c",)})
    assert targets(made, "chat") == ["chat[0]:openai/a", "chat[1]:custom/b"]
    assert targets(made, "openai/gpt-5") == ["openai/gpt-5[0]:custom/c"]
    assert made.named("chat") is made.named("chat")


def test_local_and_demo_models_are_those_there_are() -> None:
    made = roads(LOCAL, DEMO, local=frozenset({"tiny"}))
    assert targets(made, "local/tiny") == ["local/tiny"]
    assert targets(made, "demo/echo") == ["demo/echo"]
    assert made.roads["local/tiny"].pinned_price == FREE


def test_the_price_is_the_configured_one_else_the_tables_else_none_is_known() -> None:
    made = roads("openai", "custom")
    listed = made.road(Deployment("a", "openai", "gpt-4o-mini"), None)
    assert listed.price is not None
    assert listed.price.input_pico_usd > 0
    assert listed.listing is not None
    own = Price("mine", 1, 2, 1, 1, 2, 1, 2)
    assert made.road(Deployment("b", "openai", "gpt-4o-mini"), own).pinned_price is own
    unknown = made.road(Deployment("c", "custom", "x"), None)
    assert (unknown.price, unknown.pinned_price) == (None, UNPRICED)
    assert unknown.output_tokens_max == roads_module.OUTPUT_TOKENS_UNBOUNDED
    assert unknown.model_json == b'"x"'


def test_fallbacks_follow_and_unknown_ones_are_left_out() -> None:
    made = roads(
        "openai", pools={"a": ("openai/a",), "b": ("openai/b",)}, fallbacks={"a": ("b", "nowhere", "openai/c")}
    )
    named = made.named("a")
    assert named is not None
    assert [pool.name for pool in named.fallbacks] == ["b", "openai/c"]


def test_a_fallback_is_no_way_around_an_allow_list() -> None:
    made = roads(
        "openai", pools={"a": ("openai/a",), "b": ("openai/b",), "c": ("openai/c",)}, fallbacks={"a": ("b", "c")}
    )
    named = made.named("a")
    assert named is not None

    def plan(*models: str) -> list[str]:
        planner = named.planner_for(key(*models))
        return [choice.deployment.model for choice in planner.plan(Health(), 1, 0.5)]

    assert plan() == ["a", "b", "c"]
    assert plan("a", "c") == ["a", "c"]
    assert plan("a") == ["a"]
    assert named.planner_for(key("a")) is named.planner_for(key("a"))


def test_a_key_may_name_a_pinned_model_by_provider_and_model() -> None:
    named = roads("openai").named("gpt-5-mini")
    assert named is not None
    assert named.may(key())
    assert named.may(key("openai/*"))
    assert named.may(key("gpt-5*"))
    assert not named.may(key("anthropic/*"))


def test_a_pools_targets_do_not_open_its_name() -> None:
    named = roads("openai", pools={"chat": ("openai/a",)}).named("chat")
    assert named is not None
    assert not named.may(key("openai/*"))
    assert named.may(key("chat"))


@pytest.mark.source
def test_names_that_callers_make_up_are_forgotten_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roads_module, "NAMES_PREPARED_MAX", 3)
    made = roads("openai", pools={"chat": ("openai/a",)})
    made.named("chat")
    for number in range(10):
        made.named(f"openai/m{number}")
        made.named(f"nobody-{number}")
    assert len(made._named) == 3
    assert len(made.roads) <= 4
    assert targets(made, "chat") == ["chat[0]:openai/a"]


@pytest.mark.source
def test_a_name_in_use_outlives_any_number_that_callers_make_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roads_module, "NAMES_PREPARED_MAX", 8)
    monkeypatch.setattr(roads_module, "NAMES_ORDERED_MIN", 6)
    made = roads("openai", pools={"chat": ("openai/a",)})
    chat, pinned = made.named("chat"), made.named("openai/busy")
    for number in range(50):
        made.named(f"openai/m{number}")
        assert made.named("chat") is chat
        assert made.named("openai/busy") is pinned
    assert len(made._named) == 8


@pytest.mark.source
def test_forgetting_a_name_leaves_the_road_of_another_that_shares_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`openai/m` and `openai:m` are one road; a request under the younger name must still find it."""
    monkeypatch.setattr(roads_module, "NAMES_PREPARED_MAX", 2)
    made = roads("openai")
    made.named("openai/m")
    young = made.named("openai:m")
    made.named("openai/other")
    assert young is made.named("openai:m")
    assert young is not None
    assert [made.roads[each.id].model_json for each in young.pool.deployments] == [b'"m"']


def test_the_list_shows_what_is_configured_else_what_providers_are_known_for() -> None:
    assert roads("openai", pools={"b": ("openai/x",), "a": ("openai/y",)}).listed() == ("b", "a")
    assert roads("openai", LOCAL, pools={"b": ("openai/x",)}, local=frozenset({"t"})).listed() == ("b", "local/t")
    assert "openai/gpt-4o-mini" in roads("openai").listed()
    assert roads(DEMO).listed() == ("demo/echo",)


def test_a_request_head_is_all_but_the_length() -> None:
    origin = Origin.of("https://api.test/base/v1/")
    assert request_head(origin, "/chat/completions", {"authorization": "Bearer x"}) == (
        b"POST /base/v1/chat/completions HTTP/1.1\r\nhost: api.test\r\ncontent-type: application/json\r\n"
        b"accept-encoding: identity\r\nauthorization: Bearer x\r\ncontent-length: "
    )


def test_what_must_not_leave_is_not_forwardable() -> None:
    assert forwardable(("X-Mine", "Authorization", "x-turnpike-key", "Cookie", "content-length")) == {b"x-mine"}


class Engines:
    """A local backend with one model that may move."""

    def __init__(self) -> None:
        self.address: Address | None = None
        self.starts = 0

    def ready_address(self, name: str) -> Address | None:
        return self.address

    async def ensure_ready(self, name: str) -> Address:
        self.starts += 1
        await asyncio.sleep(0)
        if name != "tiny":
            raise LocalModelFailed(name, "there is none")
        self.address = Address("127.0.0.1", 4001)
        return self.address


async def test_a_local_model_is_started_on_demand_and_one_address_is_one_pool() -> None:
    asked: list[Origin] = []

    def connections_for(origin: Origin, connect_s: float) -> Connections:
        asked.append(origin)
        return Connections(origin, cast("Any", None), asyncio.get_running_loop(), connect_s=connect_s)

    engines = Engines()
    local = LocalRoads(engines, connections_for, 5)
    assert local.ready("tiny") is None
    connections, head = await local.started("tiny")
    assert local.ready("tiny") == (connections, head)
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:4001\r\n")
    engines.address = Address("127.0.0.1", 4002)
    moved = local.ready("tiny")
    assert moved is not None
    assert moved[0] is not connections
    assert [origin.port for origin in asked] == [4001, 4002]
    with pytest.raises(LocalModelFailed):
        await local.started("huge")


def test_a_listed_price_wins_over_the_configured_one_from_its_instant_on_and_for_its_team() -> None:
    made = roads("openai", pools={"chat": ("openai/gpt-4o",)})
    place = "chat[0]:openai/gpt-4o"
    configured = made.roads[place].pinned_price
    rates = UsdRow(Decimal(1), Decimal(1))
    made.reprice(
        PriceBook(made.table, [ListedPrice("price_1", "openai", "gpt-4o", "team_a", rates, 1000, "contract", 1)])
    )
    road = made.roads[place]
    assert road.price_for("team_a", 999) is configured
    assert road.price_for("team_a", 1000).version == "contract/openai/gpt-4o@1970-01-01T00:00:00.001000Z#price_1"
    assert road.price_for("team_b", 1000) is configured
    pinned = made.named("openai/gpt-4o")
    assert pinned is not None
    assert made.roads[pinned.pool.deployments[0].id].price_for("team_a", 1000).input_pico_usd == 1_000_000
    made.reprice(PriceBook(made.table, []))
    assert made.roads[place].price_for("team_a", 1000) is configured
    assert made.roads[place].schedule is None, "one comparison, as before"


def test_a_budget_that_has_no_room_looks_for_what_is_cheaper_to_this_team_now() -> None:
    made = roads("openai", pools={"chat": ("openai/gpt-4o", "openai/gpt-4o-mini")})
    named = made.named("chat")
    assert named is not None
    plan = named.planner.plan(Health(), 1, 0.0)
    large, small = made.roads["chat[0]:openai/gpt-4o"], made.roads["chat[1]:openai/gpt-4o-mini"]
    of_team = replace(key(), team_id="team_a")
    assert [choice.deployment for choice in made.cheaper(plan, large, of_team, 1000)] == [small.deployment]
    rates = UsdRow(Decimal(900), Decimal(900))
    made.reprice(
        PriceBook(made.table, [ListedPrice("price_1", "openai", "gpt-4o-mini", "team_a", rates, 1000, "contract", 1)])
    )
    assert made.cheaper(plan, made.roads[large.deployment.id], of_team, 1000) == ()
    assert made.cheaper(plan, made.roads[large.deployment.id], of_team, 999) != ()
