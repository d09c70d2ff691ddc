"""Two fake hosted providers and a gateway in front of them, shared by a run; a model and a key are each test's own.

No test sees another's cooled deployments, queued scripts or money, because none shares its model or its key.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.gateway import Gateway, Key
from tests.fakes.bill import tariff
from tests.fakes.provider import Provider, closed_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ONE: Final = tariff("0.60", "2.40", "0.15")
# Sums that end on half a nano-dollar: rounding must be to even, and once.
TWO: Final = tariff("0.0025", "1.2345", "0.0005", "3.3335")
# So many tests of one run may ask for a model of each family.
FAMILIES: Final = {"solo": 400, "pair": 150, "hasty": 30, "refused": 20, "limited": 20, "dead": 10, "mutant": 1}
PROVIDERS: Final = {"hasty": "one-hasty", "refused": "one-refused", "limited": "one-limited", "dead": "dead"}
KEY_ONE: Final = "sk-one-0123456789abcdefghijklmnop"
KEY_TWO: Final = "sk-two-0123456789abcdefghijklmnop"

_numbers = {family: itertools.count() for family in FAMILIES}


def deployment(provider: str, model: str, **more: object) -> dict[str, object]:
    prices = TWO if provider.startswith("two") else ONE
    return {"provider": provider, "model": model, "price": prices.as_configured(), **more}


def hosted(one: Provider, two: Provider) -> dict[str, object]:
    """`one` and `two`, and rows apart for what would stain either: a refused key, a rate limit, short timeouts."""
    short = {"connect_s": 2, "first_byte_s": 0.5, "idle_s": 0.5, "total_s": 5}
    return {
        "one": {"dialect": "openai", "base_url": one.base_url, "api_key": KEY_ONE},
        "two": {"dialect": "openai", "base_url": two.base_url, "api_key": KEY_TWO},
        "two-headed": {
            "dialect": "openai",
            "base_url": two.base_url,
            "api_key": KEY_TWO,
            "headers": {"x-team": "lab"},
            "forward_headers": ["x-forward-me"],
        },
        "one-hasty": {"dialect": "openai", "base_url": one.base_url, "api_key": KEY_ONE, "timeouts": short},
        "one-refused": {"dialect": "openai", "base_url": one.base_url, "api_key": KEY_ONE},
        "one-limited": {"dialect": "openai", "base_url": one.base_url, "api_key": KEY_ONE},
        "two-limited": {"dialect": "openai", "base_url": two.base_url, "api_key": KEY_TWO},
        "dead": {
            "dialect": "openai",
            "base_url": f"http://127.0.0.1:{closed_port()}/v1",
            "api_key": "sk-dead-0123456789",
        },
    }


def configuration(one: Provider, two: Provider) -> dict[str, object]:
    models: dict[str, object] = {}
    fallbacks: dict[str, object] = {}
    for family, count in FAMILIES.items():
        for name in (f"{family}-{n}" for n in range(count)):
            models[name] = [deployment(PROVIDERS.get(family, "one"), name)]
            if family in {"pair", "limited"}:
                models[f"spare-{name}"] = [deployment("two", name)]
                fallbacks[name] = [f"spare-{name}"]
    models["pool"] = [deployment("one", "pool", weight=3), deployment("two", "pool", weight=1)]
    models["headed"] = [deployment("two-headed", "headed")]
    models["both-limited"] = [deployment("one-limited", "both-limited")]
    models["both-limited-spare"] = [deployment("two-limited", "both-limited")]
    models["dead-then-two"] = [deployment("dead", "dead-then-two")]
    models["dead-then-two-spare"] = [deployment("two", "dead-then-two")]
    fallbacks |= {"both-limited": ["both-limited-spare"], "dead-then-two": ["dead-then-two-spare"]}
    return {"providers": hosted(one, two), "models": models, "routing": {"fallbacks": fallbacks}}


@pytest.fixture(scope="session")
def one() -> Iterator[Provider]:
    with Provider("one", ONE) as provider:
        yield provider


@pytest.fixture(scope="session")
def two() -> Iterator[Provider]:
    with Provider("two", TWO) as provider:
        yield provider


@pytest.fixture(scope="session")
def gateway_process() -> None:
    """Asked for by what starts a gateway: the tests that use it are marked `process`."""


@pytest.fixture(scope="session")
def gateway(
    gateway_process: None, one: Provider, two: Provider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("gateway"), configuration(one, two)) as running:
        yield running


@pytest.fixture(scope="session")
def impatient(
    gateway_process: None, one: Provider, two: Provider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway that waits a second for a body, takes 100 kB of it, and waits a second for a client to read."""
    short = {"body_timeout_s": 1, "client_stall_s": 1, "request_body_bytes_max": 100_000}
    config = {**configuration(one, two), "server": short}
    with Gateway(tmp_path_factory.mktemp("impatient"), config) as running:
        yield running


@pytest.fixture
def key(gateway: Gateway) -> Key:
    return gateway.create_key()


def _next(family: str) -> str:
    number = next(_numbers[family])
    assert number < FAMILIES[family], f"raise FAMILIES[{family!r}]: every test takes a model of its own"
    return f"{family}-{number}"


@pytest.fixture
def model() -> str:
    """A model that `one` alone serves."""
    return _next("solo")


@pytest.fixture
def pair() -> str:
    """A model that `one` serves first, and `two` when `one` fails."""
    return _next("pair")


@pytest.fixture
def hasty() -> str:
    """A model of `one` behind timeouts of half a second."""
    return _next("hasty")


@pytest.fixture
def refused() -> str:
    """A model of `one` by a credential that the other tests do not use."""
    return _next("refused")


@pytest.fixture
def limited() -> str:
    """Like `pair`, by a credential that only tests of rate limits use."""
    return _next("limited")


@pytest.fixture
def dead() -> str:
    """A model at an address where nobody listens."""
    return _next("dead")


@pytest.fixture
def mutant() -> str:
    """A model whose name, changed in a letter or a digit, is never that of another test."""
    return _next("mutant")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """For a gateway that a test starts itself."""
    return tmp_path / "own"
