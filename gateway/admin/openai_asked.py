"""What OpenAI's organization API is asked in a query string. Lists come as `name[]=…`, as `name=…`, or with commas."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from gateway.admin.openai_buckets import WIDTHS_S
from gateway.admin.problem import FieldError, Problem

LISTED: Final = 20
LISTED_MAX: Final = 100
LATEST_S: Final = 253_402_300_799  # the last second of the year 9999
# By bucket width: how many a page has, and may have.
BUCKETS: Final[Mapping[str, tuple[int, int]]] = {"1m": (60, 1440), "1h": (24, 168), "1d": (7, 31)}
COST_BUCKETS: Final[Mapping[str, tuple[int, int]]] = {"1d": (7, 180)}
# By OpenAI's name of a column: ours. None: nothing here differs by it, so that there is one group.
USAGE_GROUPS: Final[Mapping[str, str | None]] = {
    "project_id": "team",
    "user_id": "user",
    "api_key_id": "key",
    "model": "model",
    "batch": None,
    "service_tier": None,
    "api_source": None,
}
COST_GROUPS: Final[Mapping[str, str | None]] = {
    "project_id": "team",
    "user_id": "user",
    "line_item": "model",
    "api_key_id": "key",
    "api_source": None,
}
USAGE_FILTERS: Final = {"project_ids": "team", "user_ids": "user", "api_key_ids": "key", "models": "model"}
COST_FILTERS: Final = {"project_ids": "team", "user_ids": "user", "api_key_ids": "key", "line_items": "model"}
_PAGE: Final = "page_"


class Report(NamedTuple):
    start_s: int
    end_s: int
    width_s: int
    buckets_max: int
    group_by: tuple[str, ...]
    wanted: Mapping[str, frozenset[str]]
    batch: bool | None


class Listed(NamedTuple):
    limit: int
    after: str | None


class Sent:
    """A query string, read name by name; what nobody read is not known here."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name.removesuffix("[]"), []).append(value)

    def texts(self, name: str) -> tuple[str, ...]:
        found = [part for value in self._values.pop(name, ()) for part in value.split(",") if part]
        return tuple(dict.fromkeys(found))

    def text(self, name: str) -> str | None:
        found = self._values.pop(name, None)
        return found[-1] if found else None

    def number(self, name: str, least: int, most: int) -> int | None:
        text = self.text(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
            raise wrong(name, f"`{name}` is a whole number from {least} to {most}")
        return int(text)

    def flag(self, name: str) -> bool | None:
        text = self.text(name)
        if text not in (None, "true", "false"):
            raise wrong(name, f"`{name}` is `true` or `false`")
        return None if text is None else text == "true"

    def one_of(self, name: str, known: Iterable[str], otherwise: str) -> str:
        text = self.text(name) or otherwise
        if text not in known:
            raise wrong(name, f"`{name}` is one of {', '.join(known)}")
        return text

    def end(self, known: Sequence[str]) -> None:
        for name in self._values:
            raise wrong(name, f"`{name[:60]}` is not known here: use {', '.join(known)}")


def listed(sent: Sent) -> Listed:
    return Listed(sent.number("limit", 1, LISTED_MAX) or LISTED, sent.text("after"))


def usage_asked(sent: Sent, now_s: int) -> Report:
    asked = _report(sent, now_s, BUCKETS, USAGE_GROUPS, USAGE_FILTERS, sent.flag("batch"))
    sent.end((*_TIMES, "batch", *USAGE_FILTERS))
    return asked


def costs_asked(sent: Sent, now_s: int) -> Report:
    asked = _report(sent, now_s, COST_BUCKETS, COST_GROUPS, COST_FILTERS, None)
    sent.end((*_TIMES, *COST_FILTERS))
    return asked


_TIMES: Final = ("start_time", "end_time", "bucket_width", "limit", "page", "group_by")


def _report(
    sent: Sent,
    now_s: int,
    widths: Mapping[str, tuple[int, int]],
    groups: Mapping[str, str | None],
    filters: Mapping[str, str],
    batch: bool | None,
) -> Report:
    start_s = sent.number("start_time", 0, LATEST_S)
    if start_s is None:
        raise wrong("start_time", "`start_time` is missing: send it in seconds since 1970")
    end_s = sent.number("end_time", 0, LATEST_S)
    end_s = now_s if end_s is None else min(end_s, now_s)
    width = sent.one_of("bucket_width", widths, "1d")
    usual, most = widths[width]
    group_by = sent.texts("group_by")
    for name in group_by:
        if name not in groups:
            raise wrong("group_by", f"`group_by` takes {', '.join(groups)}")
    page = sent.text("page")
    if page is not None:
        begin = page.removeprefix(_PAGE)
        if not (page.startswith(_PAGE) and begin.isascii() and begin.isdigit() and len(begin) < 13):
            raise wrong("page", "`page` is the `next_page` of the answer before")
        start_s = max(start_s, int(begin))
    wanted = {ours: frozenset(values) for name, ours in filters.items() if (values := sent.texts(name))}
    return Report(start_s, end_s, WIDTHS_S[width], sent.number("limit", 1, most) or usual, group_by, wanted, batch)


def page_name(start_s: int | None) -> str | None:
    return None if start_s is None else f"{_PAGE}{start_s}"


def wrong(name: str, detail: str) -> Problem:
    return Problem("unreadable_query", f"{detail}.", errors=[FieldError(name, detail)])
