"""The OpenAPI document: built when asked for, complete, and true about errors and credentials."""

import json
from typing import Any

from gateway.admin.rules import RULES
from tests.gateway.admin.house import House


async def document(house: House) -> dict[str, Any]:
    answer = await house.anonymous.get("/admin/v1/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def test_it_names_every_route_of_the_api(house: House) -> None:
    paths = (await document(house))["paths"]
    found = {(method.upper(), path) for path, operations in paths.items() for method in operations}
    expected = {
        (method, path.replace(":path", ""))
        for method, path in RULES
        if path.startswith(("/admin/v1/", "/v1/")) and path != "/admin/v1/openapi.json"
    }
    assert found == expected


async def test_every_operation_names_its_credential_and_its_problem(house: House) -> None:
    for path, operations in (await document(house))["paths"].items():
        for operation in operations.values():
            assert operation["security"] == [{"admin_key": []}, {"session": []}]
            assert operation["x-roles"]["owner"] in {"gateway", "organization"}
            kind = "application/json" if path.startswith("/v1/") else "application/problem+json"
            assert kind in operation["responses"]["default"]["content"]
            assert "422" not in operation["responses"]


async def test_every_reference_leads_somewhere(house: House) -> None:
    found = await document(house)
    text = json.dumps(found)
    names = {part.split('"', 1)[0] for part in text.split('"#/components/schemas/')[1:]}
    assert names
    assert names <= set(found["components"]["schemas"])


async def test_unknown_fields_are_refused_by_the_schema_too(house: House) -> None:
    assert (await document(house))["components"]["schemas"]["KeyAsked"]["additionalProperties"] is False


async def test_it_is_built_once(house: House) -> None:
    first = await house.anonymous.get("/admin/v1/openapi.json")
    second = await house.anonymous.get("/admin/v1/openapi.json")
    assert first.content == second.content
