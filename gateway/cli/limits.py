"""`turnpike limits`: how fast a model may be used, by all together. Also how limits of keys and teams are typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.cli.desk import address, rows
from gateway.cli.refusal import Refused
from gateway.cli.said import NONE, tell, tell_all, tell_gone

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.cli.situation import Situation

ROOM: Final = "limits"
COLUMNS: Final = ("model", "requests_per_minute", "tokens_per_minute", "concurrency_max")
WORDS: Final = {"rpm": COLUMNS[1], "tpm": COLUMNS[2], "concurrency": COLUMNS[3]} | {name: name for name in COLUMNS[1:]}


def listing(here: Situation) -> None:
    tell_all(here, list(rows(here.desk(), ROOM)), COLUMNS)


def create(here: Situation) -> None:
    asked = {"model": here.option("model"), **bounds(here.option("limits"))}
    tell(here, here.desk().ask("POST", address(ROOM), asked))


def show(here: Situation) -> None:
    tell(here, here.desk().ask("GET", address(ROOM, here.option("model"))))


def update(here: Situation) -> None:
    tell(here, here.desk().ask("PATCH", address(ROOM, here.option("model")), bounds(here.option("limits"))))


def delete(here: Situation) -> None:
    model: str = here.option("model")
    tell_gone(here, model, here.desk().ask("DELETE", address(ROOM, model)))


def bounds(text: str) -> dict[str, int | None]:
    """`rpm=600,tpm=none`"""
    found: dict[str, int | None] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        word, _, number = part.partition("=")
        if word.strip() not in WORDS or not (number == NONE or (number.isascii() and number.isdecimal())):
            raise Refused(f"{part!r} is no limit: write rpm=600, tpm=100000 or concurrency=20, parted by commas")
        found[WORDS[word.strip()]] = None if number == NONE else int(number)
    return found


def limits_of(texts: Iterable[str]) -> dict[str, Any]:
    """As a key or a team has them: `rpm=600`, and of models `MODEL:rpm=60`. They take the place of those before."""
    whole: dict[str, Any] = {}
    models: dict[str, dict[str, int | None]] = {}
    for text in texts:
        # From the right: a model's name may hold a colon, a limit none.
        model, colon, rest = text.rpartition(":")
        if colon:
            models.setdefault(model, {}).update(bounds(rest))
        elif text != NONE:
            whole.update(bounds(text))
    return whole | ({"models": models} if models else {})
