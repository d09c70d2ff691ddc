"""`turnpike prices`: what models cost, by date and by team; a list is brought from CSV, JSON or LiteLLM's map."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.desk import Desk, address, find_id, rows
from gateway.cli.refusal import Refused
from gateway.cli.tables import fields, json_text, listing_json, table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from billing.price_import import Offered
    from gateway.cli.situation import Situation

COLUMNS: Final = ("id", "provider", "model", "team_id", "input", "cached_input", "output", "effective_at", "source")
FILE_BYTES_MAX: Final = 64 * 1024 * 1024
RATES: Final = ("input", "output", "cached_input", "cache_write", "reasoning", "audio_input", "audio_output", "request")


def listing(here: Situation) -> None:
    desk = here.desk()
    found = list(
        rows(
            desk,
            "prices",
            provider=here.option("provider"),
            model=here.option("model"),
            team_id=_team(here, desk),
            retired="true" if here.option("retired") else None,
        )
    )
    columns = (*COLUMNS, "retired_at") if here.option("retired") else COLUMNS
    print(listing_json(found) if here.option("json") else table(found, columns))


def show(here: Situation) -> None:
    """A row by its id, or what is in force for `provider/model`."""
    desk = here.desk()
    wanted: str = here.option("price")
    provider, _, model = wanted.partition("/")
    if model:
        asked = {"provider": provider, "model": model, "team_id": _team(here, desk), "at": here.option("at")}
        found = desk.ask("GET", address("prices", "in-force", **asked))
    elif here.option("team") is not None or here.option("at") is not None:
        raise Refused("--team and --at ask what a model costs: name it as PROVIDER/MODEL")
    else:
        found = desk.ask("GET", address("prices", wanted))
    _tell(here, found)


def create(here: Situation) -> None:
    desk = here.desk()
    provider, _, model = str(here.option("model")).partition("/")
    if not model:
        raise Refused(f"{provider!r} names no provider: write PROVIDER/MODEL, as in openai/gpt-4o")
    asked = {"provider": provider, "model": model, "id": here.option("id"), "team_id": _team(here, desk)}
    asked |= {name: here.option(name) for name in (*RATES, "effective_at", "source")}
    _tell(here, desk.ask("POST", address("prices"), _given(asked)))


def delete(here: Situation) -> None:
    price_id: str = here.option("price")
    retired = here.desk().ask("DELETE", address("prices", price_id))
    print(json_text(retired) if here.option("json") else f"retired {price_id}")


def import_(here: Situation) -> None:
    """Reads the file here, so that what is wrong with it is said with its lines, and sends what is in it whole."""
    from billing.price_import import BadPrices, offered  # noqa: PLC0415 - needed by this command alone

    name: str = here.option("path")
    try:
        found = offered(_text(name))
    except BadPrices as error:
        raise Refused(f"{name}: {error}") from None
    provider = here.option("provider")
    if provider is not None:
        found = tuple(row for row in found if row.provider == provider)
        if not found:
            raise Refused(f"{name} has no price of {provider!r}")
    body = {
        "prices": list(_sent(found)),
        "effective_at": here.option("effective_at"),
        "source": here.option("source") or (Path(name).name if name != "-" else "standard input"),
        "dry_run": here.option("dry_run"),
    }
    done = here.desk().ask("POST", address("prices", "import"), _given(body))
    if here.option("json"):
        print(json_text(done))
        return
    if done["data"]:
        print(table(done["data"], COLUMNS))
    verb = "would be imported" if done["dry_run"] else "imported"
    print(f"{done['created']} {verb}, {done['unchanged']} stood there already", file=sys.stderr)


def reprice(here: Situation) -> None:
    body = {name: here.option(name) for name in ("since", "until", "provider", "model", "everything", "dry_run")}
    done = here.desk().ask("POST", address("prices", "reprice"), _given(body))
    if here.option("json"):
        print(json_text(done))
        return
    verb = "would be repriced" if done["dry_run"] else "repriced"
    print(f"{done['attempts']} attempts {verb}, by {done['amount_usd']} USD; {done['unpriceable']} still have no price")


def _sent(found: Iterable[Offered]) -> Iterable[dict[str, Any]]:
    from billing.price_rows import fields_of  # noqa: PLC0415

    for row in found:
        named = {
            "provider": row.provider,
            "model": row.model,
            "team_id": row.team_id,
            "effective_at": row.effective_at,
            "source": row.source,
        }
        yield _given({**named, **fields_of(row.rates)})


def _team(here: Situation, desk: Desk) -> str | None:
    team = here.option("team")
    return None if team is None else find_id(desk, "teams", team)


def _given(asked: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if value is not None}


def _text(name: str) -> str:
    try:
        if name == "-":
            return sys.stdin.read(FILE_BYTES_MAX)
        with Path(name).open(encoding="utf-8", newline="") as file:
            return file.read(FILE_BYTES_MAX)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise Refused(f"the prices cannot be read from {name}: {reason}") from None


def _tell(here: Situation, price: dict[str, Any]) -> None:
    print(json_text(price) if here.option("json") else fields(price))
