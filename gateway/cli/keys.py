"""`turnpike keys`: a secret is printed once, and never taken from the command line, where others see it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.desk import Desk, address, find_id, rows
from gateway.cli.key_rules import rules, words_of
from gateway.cli.refusal import Refused
from gateway.cli.said import NONE, given, id_or_none, meant_or_none, tell, tell_all
from gateway.cli.situation import new_name
from gateway.cli.tables import json_text

if TYPE_CHECKING:
    from gateway.cli.situation import Situation

COLUMNS: Final = ("id", "name", "prefix", "team_id", "models_allowed", "expires_at", "revoked_at")
SECRET_BYTES_MAX: Final = 4096
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def listing(here: Situation) -> None:
    desk = here.desk()
    team = here.option("team")
    found = list(rows(desk, "keys", team_id=find_id(desk, "teams", team) if team else None))
    tell_all(here, found, COLUMNS)


def create(here: Situation) -> None:
    desk = here.desk()
    asked = {"name": new_name(here), "id": here.option("id"), "key_sha256": here.option("key_sha256")}
    asked |= {"key": _secret(here)} | _change(here, desk)
    made = desk.ask("POST", address("keys"), given(asked))
    _tell_secret(here, made)


def show(here: Situation) -> None:
    desk = here.desk()
    tell(here, desk.ask("GET", address("keys", find_id(desk, "keys", here.option("key")))))


def update(here: Situation) -> None:
    desk = here.desk()
    change = _change(here, desk)
    if here.option("name") is not None:
        change["name"] = here.option("name")
    if not change:
        raise Refused("nothing to change: give --name, --team, --user, --models, --limits, --tags, --expires-at, …")
    tell(here, desk.ask("PATCH", address("keys", find_id(desk, "keys", here.option("key"))), change))


def delete(here: Situation) -> None:
    desk = here.desk()
    key_id = find_id(desk, "keys", here.option("key"))
    revoked = desk.ask("DELETE", address("keys", key_id))
    print(json_text(revoked) if here.option("json") else f"revoked {key_id}")


def rotate(here: Situation) -> None:
    desk = here.desk()
    key_id = find_id(desk, "keys", here.option("key"))
    overlap = {"overlap_seconds": here.option("overlap_seconds")}
    _tell_secret(here, desk.ask("POST", address("keys", key_id, "rotate"), overlap))


def _change(here: Situation, desk: Desk) -> dict[str, Any]:
    """The options that a key's making and its changing have in common; one not given changes nothing."""
    change = rules(here)
    if (team := here.option("team")) is not None:
        change["team_id"] = id_or_none(desk, "teams", team)
    if (user := here.option("user")) is not None:
        change["user_id"] = meant_or_none(desk, "users", user)
    if (scopes := here.option("scopes")) is not None:
        change["scopes"] = words_of(scopes, NONE)
    if (expires := here.option("expires_at")) is not None:
        # A day ends a key as it begins, in UTC: the sooner of what may have been meant.
        change["expires_at"] = (
            None if expires == "never" else f"{expires}T00:00:00Z" if _DAY.fullmatch(expires) else expires
        )
    return change


def _secret(here: Situation) -> str | None:
    name = here.option("key_file")
    if name is None:
        return None
    try:
        if name == "-":
            return sys.stdin.read(SECRET_BYTES_MAX).strip()
        with Path(name).open() as file:
            return file.read(SECRET_BYTES_MAX).strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise Refused(f"the key cannot be read from {name}: {reason}") from None


def _tell_secret(here: Situation, made: dict[str, Any]) -> None:
    tell(here, made)
    if made.get("key") and sys.stderr.isatty():
        print("Keep the key now: it is not shown again.", file=sys.stderr)
