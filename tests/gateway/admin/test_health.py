"""Health from memory: ready or what is missing, deployments and whether they cool."""

from tests.gateway.admin.house import House


async def test_a_ready_gateway_says_so(house: House) -> None:
    answer = (await house.admin.get("/admin/v1/health")).json()
    assert answer == {"ready": True, "missing": [], "pending_usd": "0.000000000", "version": "0.1.0"}


async def test_what_is_missing_is_named(house: House) -> None:
    house.missing.append("the database")
    answer = (await house.admin.get("/admin/v1/health")).json()
    assert answer["ready"] is False
    assert answer["missing"] == ["the database"]


async def test_a_cooling_deployment_says_until_when_and_why(house: House) -> None:
    found = (await house.admin.get("/admin/v1/models")).json()["data"]
    assert [(one["provider"], one["state"]) for one in found] == [("openai", "ready"), ("lab", "cooling")]
    assert found[1]["cooling_until"] == "2025-11-25T12:00:30.000000Z"
    assert found[1]["reason"] == "5 answers of 503 in a row"


async def test_what_cooled_is_ready_again_when_its_time_is_over(house: House) -> None:
    house.clock.now_at_us += 30_000_000
    found = (await house.admin.get("/admin/v1/models")).json()["data"]
    assert found[1]["state"] == "ready"
    assert found[1]["cooling_until"] is None


async def test_providers_are_summed_up(house: House) -> None:
    found = (await house.admin.get("/admin/v1/health/providers")).json()["data"]
    assert [(one["provider"], one["state"], one["cooling"]) for one in found] == [
        ("openai", "ready", 0),
        ("lab", "cooling", 1),
    ]
