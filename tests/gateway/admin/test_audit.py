"""The audit log over HTTP: whose change it was, what it changed, and whether the log is whole."""

from tests.gateway.admin.house import House


async def test_a_users_change_is_told_as_the_users(house: House) -> None:
    admin = await house.person("admin")
    await admin.post("/admin/v1/teams", json={"name": "A", "id": "team_a"})
    (row,) = (await house.admin.get("/admin/v1/audit", params={"object_id": "team_a"})).json()["data"]
    assert row["actor"] == {"type": "user", "id": "user_admin"}
    assert (row["action"], row["before"], row["after"]["name"]) == ("team.create", None, "A")


async def test_no_secret_is_in_it(house: House) -> None:
    key = await house.made("keys", name="ci")
    rotated = (await house.admin.post(f"/admin/v1/keys/{key['id']}/rotate")).json()
    text = (await house.admin.get("/admin/v1/audit")).text
    assert "key.rotate" in text
    assert key["key"] not in text
    assert rotated["key"] not in text


async def test_pages_go_back_in_time(house: House) -> None:
    for number in range(5):
        await house.made("teams", id=f"team_{number}", name=str(number))
    first = (await house.admin.get("/admin/v1/audit", params={"limit": 3})).json()
    assert [row["object_id"] for row in first["data"]] == ["team_4", "team_3", "team_2"]
    rest = (await house.admin.get("/admin/v1/audit", params={"after": first["next"]})).json()
    assert ([row["object_id"] for row in rest["data"]], rest["has_more"]) == (["team_1", "team_0"], False)
    filtered = (await house.admin.get("/admin/v1/audit", params={"actor_id": "nobody"})).json()
    assert filtered["data"] == []


async def test_a_changed_row_is_found(house: House) -> None:
    for number in range(3):
        await house.made("teams", id=f"team_{number}", name=str(number))
    assert (await house.admin.get("/admin/v1/audit/verify")).json() == {"ok": True, "row_ids": [], "missing": []}
    with house.store.engine.begin() as tx:
        for (name,) in tx.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            tx.exec_driver_sql(f"DROP TRIGGER {name}")
        tx.exec_driver_sql("UPDATE audit SET object_id = 'team_x' WHERE id = 2")
    verdict = (await house.admin.get("/admin/v1/audit/verify")).json()
    assert verdict["ok"] is False
    assert "2" in verdict["row_ids"]
