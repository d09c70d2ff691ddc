"""Where commands are carried out: the admin API, of a gateway that runs or over the bare books, in the same words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, urlencode

from gateway.cli.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PAGE_ROWS: Final = 1000
ROWS_MAX: Final = 1_000_000


class NoSuchThing(Refused):
    """Nothing has this id or bears this name."""


class Desk(Protocol):
    """One question, one answer."""

    def ask(
        self, method: str, path: str, body: Mapping[str, object] | None = None, *, if_match: str | None = None
    ) -> Any:
        """The answer's JSON, None where it has none; `Refused` with the reason otherwise. With `if_match`, a thing's
        entity tag, only if nobody changed it since.
        """
        ...

    def close(self) -> None: ...


def address(*parts: str, **query: str | int | None) -> str:
    """A path under the admin API. Names are escaped, options that were not given are left out."""
    path = "/admin/v1/" + "/".join(quote(part, safe="") for part in parts)
    given = {name.rstrip("_"): value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def rows(desk: Desk, *parts: str, **query: str | int | None) -> Iterator[dict[str, Any]]:
    """All rows of a listing, page by page."""
    after: str | None = None
    count = 0
    while True:
        page = desk.ask("GET", address(*parts, **query, limit=PAGE_ROWS, after=after))
        yield from page["data"]
        count += len(page["data"])
        if not page.get("has_more") or not page.get("next"):
            return
        if count >= ROWS_MAX:
            raise Refused(f"the listing has more than {ROWS_MAX} rows; narrow it down")
        after = page["next"]


def find_id(desk: Desk, kind: str, wanted: str) -> str:
    """The id of the one with this id or, where one alone bears it, this name or e-mail. A revoked key has no name."""
    found = [row for row in rows(desk, kind) if wanted in (row["id"], row["name"], row.get("email"))]
    if any(row["id"] == wanted for row in found):
        return wanted
    alive = [row for row in found if not row.get("revoked_at")]
    if len(alive) == 1:
        return str(alive[0]["id"])
    if alive:
        ids = ", ".join(row["id"] for row in alive)
        raise Refused(f"several {kind} are named {wanted!r}; say which by its id: {ids}")
    raise NoSuchThing(f"there is no {kind.removesuffix('s')} {wanted!r}; `turnpike {kind} list` shows them")


def answer(status: int, body: bytes, where: str) -> Any:
    """What an answer of the admin API says, or its refusal in one line."""
    try:
        said = json.loads(body) if body else None
    except ValueError:
        said = NotImplemented
    if 200 <= status < 300 and said is not NotImplemented:
        return said
    raise refusal(status, said, where)


def refusal(status: int, said: object, where: str) -> Refused:
    if not isinstance(said, dict) or not isinstance(said.get("detail"), str):
        return Refused(f"{where} answered {status} and is no Turnpike gateway; check server.host and server.port")
    if status == 401:
        return Refused(
            f"{where} refused the admin key; set TURNPIKE_ADMIN_KEY to the key that gateway was started with"
        )
    errors = [f"{error.get('field')}: {error.get('detail')}" for error in said.get("errors") or []]
    return Refused("; ".join(errors) or said["detail"], status)
