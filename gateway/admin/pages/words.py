"""How pages say what the books keep as a word or a number; used by the templates alone. Pure."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

from billing.store import UsageLine
from gateway.admin.pages import figures
from gateway.admin.pages.choices import OVER_BUDGET, ROLES
from gateway.admin.pages.choices import WINDOWS as WINDOW_CHOICES
from gateway.admin.pages.plot import share_bar
from gateway.admin.pages.scope_words import WINDOWS, scope_words, subject_words
from gateway.admin.pages.views import Account, Budget

_RATES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "requests_per_minute": "requests a minute",
        "tokens_per_minute": "tokens a minute",
        "concurrency_max": "at once",
    }
)


def window_words(window: str) -> str:
    return WINDOWS[window]


def window_choice(window: str) -> str:
    return dict(WINDOW_CHOICES)[window]


def role_words(role: str) -> str:
    return dict(ROLES)[role].partition(":")[0]


def over_budget_words(choice: str | None) -> str:
    return dict(OVER_BUDGET)[choice or ""]


def limit_words(limits: Mapping[str, object]) -> str:
    told = [f"{limits[name]:,} {words}" for name, words in _RATES.items() if limits.get(name) is not None]
    models = limits.get("models")
    if models:
        told.append("more by model")
    return ", ".join(told) or "none"


def clock_ms(at_us: int, zone: ZoneInfo) -> str:
    return figures.local(at_us, zone).strftime("%H:%M:%S.%f")[:-3]


def plain_usd(amount: int, places: int) -> str:
    """For a column whose head says the currency."""
    return figures.usd(amount, places).replace("$", "")


def measure_place(number: int, measures: Mapping[str, str]) -> int:
    """Where the measure that is shown at this place stands in a line of usage."""
    return UsageLine._fields.index(list(measures)[number])


def bar(account: Account, budget: Budget) -> str:
    return share_bar(account.used_permille, account.held_permille, budget.tone(account))


WORDS: Final[Mapping[str, Callable[..., Any]]] = MappingProxyType(
    {
        **{
            one.__name__: one
            for one in (
                window_words,
                window_choice,
                role_words,
                over_budget_words,
                limit_words,
                clock_ms,
                plain_usd,
                measure_place,
                scope_words,
                subject_words,
                figures.exact,
                figures.usd,
                figures.places_of,
                figures.when,
                figures.when_s,
                figures.rfc3339,
                figures.at_us_of,
                figures.percent_text,
            )
        },
        "share_bar": bar,
    }
)
