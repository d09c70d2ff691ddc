"""One contract for both desks, and for the fake that other tests use: the same question has the same answer."""

from __future__ import annotations

import socket
from contextlib import closing, contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from gateway.cli.desk import address, find_id, rows
from gateway.cli.over_books import open_books
from gateway.cli.over_http import HttpDesk
from gateway.cli.refusal import Refused
from tests.gateway.cli.fake_gateway import ADMIN_KEY, FakeGateway, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import ASGIApp

    from gateway.cli.desk import Desk
    from tests.fixtures.books import EmptyBooks

NOW_AT_US = 1_795_564_800_000_000


@pytest.fixture(params=["over the books", "over http", "over http to the fake"])
def desk(request: pytest.FixtureRequest, tmp_path: Path, empty_books: EmptyBooks) -> Iterator[Desk]:
    if request.param == "over http to the fake":
        with running(FakeGateway()) as fake:
            yield HttpDesk("127.0.0.1", fake.port, ADMIN_KEY)
        return
    url = empty_books(tmp_path / "turnpike.db")
    with closing(open_books(url, clock=lambda: NOW_AT_US)) as books:
        if request.param == "over the books":
            yield books
            return
        with listening(books.app) as port:
            yield HttpDesk("127.0.0.1", port, books.admin_key)


@contextmanager
def listening(app: ASGIApp) -> Iterator[int]:
    """The real admin app on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", ws="none", log_config=None))
    thread = Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def make(desk: Desk, room: str, **asked: object) -> dict[str, Any]:
    made = desk.ask("POST", address(room), asked)
    assert isinstance(made, dict)
    return made


def test_a_team_is_made_found_changed_and_deleted(desk: Desk) -> None:
    team = make(desk, "teams", name="blue & green/7", id="team_blue")
    assert (team["id"], team["name"], team["organization_id"]) == ("team_blue", "blue & green/7", None)
    assert team["created_at"].endswith("Z")
    assert find_id(desk, "teams", "blue & green/7") == "team_blue"
    assert find_id(desk, "teams", "team_blue") == "team_blue"
    assert desk.ask("PATCH", address("teams", "team_blue"), {"name": "azure"})["name"] == "azure"
    assert desk.ask("GET", address("teams", "team_blue"))["name"] == "azure"
    assert desk.ask("DELETE", address("teams", "team_blue")) is None
    assert list(rows(desk, "teams")) == []


def test_ids_are_made_where_none_is_given(desk: Desk) -> None:
    assert make(desk, "teams", name="a")["id"].startswith("team_")
    assert make(desk, "keys", name="a")["id"].startswith("key_")


def test_a_key_shows_its_secret_once_and_is_listed_by_team(desk: Desk) -> None:
    team = make(desk, "teams", name="blue")
    key = make(
        desk, "keys", name="k", team_id=team["id"], models_allowed=["openai/*"], expires_at="2027-01-01T00:00:00Z"
    )
    make(desk, "keys", name="other")
    assert key["key"].startswith("tp-")
    assert key["key"].startswith(key["prefix"])
    (listed,) = rows(desk, "keys", team_id=team["id"])
    assert "key" not in {name for name, value in listed.items() if value == key["key"]}
    assert (listed["id"], listed["models_allowed"], listed["revoked_at"]) == (key["id"], ["openai/*"], None)
    assert listed["expires_at"].startswith("2027-01-01T00:00:00")


def test_a_key_is_rotated_and_revoked(desk: Desk) -> None:
    key = make(desk, "keys", name="k")
    rotated = desk.ask("POST", address("keys", key["id"], "rotate"), {"overlap_seconds": 0})
    assert rotated["key"] != key["key"]
    assert desk.ask("DELETE", address("keys", rotated["id"]))["revoked_at"].endswith("Z")
    assert desk.ask("GET", address("keys", rotated["id"]))["revoked_at"].endswith("Z")


def test_usage_of_nothing_is_an_empty_listing(desk: Desk) -> None:
    assert list(rows(desk, "usage", group_by="team,model,day", from_="2026-11-25", to="2026-11-26")) == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", address("teams", "team_gone"), None),
        ("PATCH", address("keys", "key_gone"), {"name": "x"}),
        ("DELETE", address("teams", "team_gone"), None),
        ("POST", address("teams"), {"name": ""}),
        ("POST", address("teams"), {"name": "again", "id": "team_blue"}),
        ("GET", address("no", "such", "place"), None),
    ],
)
def test_a_refusal_says_why(desk: Desk, method: str, path: str, body: dict[str, object] | None) -> None:
    make(desk, "teams", name="blue", id="team_blue")
    with pytest.raises(Refused) as refused:
        desk.ask(method, path, body)
    assert len(str(refused.value)) > 10
    assert "is no Turnpike gateway" not in str(refused.value)


def test_what_is_not_there_is_refused_by_name(desk: Desk) -> None:
    with pytest.raises(Refused, match="there is no team 'green'; `turnpike teams list` shows them"):
        find_id(desk, "teams", "green")


def test_addresses_escape_what_they_hold() -> None:
    assert address("keys", "a/b c", team_id="x&y", after=None, from_="2026") == (
        "/admin/v1/keys/a%2Fb%20c?team_id=x%26y&from=2026"
    )
