"""A house somebody lives in: an organization, teams, people, keys, budgets, and a few days of traffic."""

import re
from typing import Final

from billing.books import EntryKind
from gateway.admin.rules import RULES, Gate
from tests.gateway.admin.house import NOON, House
from tests.gateway.admin.traffic import PRICE, USAGE, answered, fell_back, hold

DAY_US: Final = 24 * 3600 * 1_000_000
IDS: Final = {
    "organization_id": "org_a",
    "team_id": "team_a",
    "user_id": "user_a",
    "key_id": "key_a",
    "budget_id": "budget_a",
    "request_id": "req_b",
}
# Every page that there is, at something that is there.
PLACES: Final = sorted(
    re.sub(r"\{([a-z_]+)\}", lambda found: IDS[found[1]], path)
    for (method, path), rule in RULES.items()
    if method == "GET" and rule.gate is Gate.PAGE
)


async def furnished(house: House) -> None:
    await house.made("organizations", id="org_a", name="Acme")
    await house.made("teams", id="team_a", name="Search", organization_id="org_a")
    await house.made("teams", id="team_b", name="Support")
    await house.made("users", id="user_a", name="Ada", email="ada@example.org", role="member")
    await house.made("teams/team_a/members", user_id="user_a")
    await house.made("keys", id="key_a", name="production", team_id="team_a", limits={"requests_per_minute": 60})
    await house.made("keys", id="key_b", name="bot", team_id="team_b", expires_at="2025-12-01T00:00:00Z")
    scope = {"type": "team", "id": "team_a"}
    await house.made(
        "budgets", id="budget_a", scope=scope, limit_usd="1.00", soft_limit_usd="0.80", window="month", timezone="UTC"
    )
    await house.made("budgets", id="budget_k", scope={"type": "key", "id": "*"}, limit_usd="0.50", window="month")
    await house.made("budgets", id="budget_t", scope={"type": "team", "id": "team_b"}, limit_usd="5", window="total")
    trade(house)


def trade(house: House) -> None:
    """key_a spends 0.123456789 on two days each, key_b 0.25 on one; one request more falls back."""
    for number, (days, key_id, team_id, model, cost) in enumerate(
        (
            (9, "key_a", "team_a", "gpt-5-mini", 123_456_789),
            (2, "key_a", "team_a", "gpt-5-mini", 123_456_789),
            (1, "key_b", "team_b", "llama-70b", 250_000_000),
        )
    ):
        spent(house, f"req_{number}", NOON - days * DAY_US, key_id, team_id, model, cost)
    first = hold("req_b", NOON - DAY_US, key_id="key_a", team_id="team_a", provider="lab", model="llama-70b")
    fell_back(house.books, first, hold("req_b", NOON - DAY_US, 2, key_id="key_a", team_id="team_a"))
    answered(house.books, hold("req_c", NOON - 60_000_000, key_id="key_a", team_id="team_a", tags=("feature=chat",)))
    house.books.flush()


def spent(house: House, request_id: str, at_us: int, key_id: str, team_id: str, model: str, cost_nano_usd: int) -> None:
    one = hold(request_id, at_us, key_id=key_id, team_id=team_id, model=model)
    one = one._replace(amount_nano_usd=max(one.amount_nano_usd, cost_nano_usd), price=PRICE)
    house.books.reserve(one)
    house.books.dispatch(one)
    house.books.settle(one, USAGE, cost_nano_usd, EntryKind.ACTUAL)
