"""The roads to a provider: TLS that is verified, several credentials, a bound on concurrency, a path under the base."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.e2e.fixtures import ONE, deployment
from tests.e2e.gateway import Gateway, chat, error_of
from tests.fakes.certificate import make_certificate
from tests.fakes.provider import Provider
from tests.fakes.script import Says, completion, refusal, reply

if TYPE_CHECKING:
    from collections.abc import Iterator

RIGHT, OTHER = "sk-right-0123456789abcdef", "sk-other-0123456789abcdef"


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    certificate = make_certificate(tmp_path_factory.mktemp("trusted"))
    with Provider("secure", ONE, tls=certificate.server_context()) as provider:
        yield provider


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """Its certificate is its own invention."""
    certificate = make_certificate(tmp_path_factory.mktemp("untrusted"))
    with Provider("stranger", ONE, tls=certificate.server_context()) as provider:
        yield provider


@pytest.fixture(scope="module")
def plain() -> Iterator[Provider]:
    with Provider("plain", ONE) as provider:
        yield provider


@pytest.fixture(scope="module")
def roads(
    secure: Provider, stranger: Provider, plain: Provider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    trusted = next(tmp_path_factory.getbasetemp().glob("trusted*/localhost.pem"))
    config = {
        "providers": {
            "secure": {"base_url": secure.base_url, "api_key": "env:LAB_KEY"},
            "stranger": {"base_url": stranger.base_url, "api_key": "sk-strange-0123456789"},
            "many-keys": {"base_url": plain.base_url, "api_keys": [{"key": RIGHT, "weight": 3}, {"key": OTHER}]},
            "narrow": {"base_url": plain.base_url, "api_key": RIGHT, "concurrency_max": 2},
            "deep": {"base_url": plain.base_url.replace("/v1", "/a/b/"), "api_key": RIGHT},
        },
        "models": {name: [deployment(name, name)] for name in ("secure", "stranger", "many-keys", "narrow", "deep")},
    }
    directory = tmp_path_factory.mktemp("roads")
    environ = {"LAB_KEY": "sk-lab-0123456789abcdef", "SSL_CERT_FILE": str(trusted)}
    with Gateway(directory, config, environ) as gateway:
        yield gateway


@pytest.mark.parametrize("stream", [False, True])
def test_tls_is_spoken_and_kept_alive(roads: Gateway, secure: Provider, stream: bool) -> None:
    key = roads.create_key()
    for _ in range(3):
        answer = roads.ask(key, chat("secure", stream=stream))
        assert answer.status_code == 200
        assert stream or answer.content == completion(Says(), "secure")
    assert len({request.connection for request in secure.requests}) == 1
    assert secure.requests[-1].header("authorization") == "Bearer sk-lab-0123456789abcdef"
    assert secure.requests[-1].header("host") == f"localhost:{secure.port}"


def test_a_certificate_that_nobody_vouches_for_is_refused(roads: Gateway, stranger: Provider) -> None:
    answer = roads.ask(roads.create_key(), chat("stranger"))
    error_of(answer, 502, "provider_error")
    assert stranger.requests == [], "no key may be sent to somebody unknown"
    assert "certificate" in answer.text.lower()


def test_several_credentials_share_by_weight_and_a_refused_one_rests(roads: Gateway, plain: Provider) -> None:
    key = roads.create_key()
    for _ in range(8):
        assert roads.ask(key, chat("many-keys")).status_code == 200
    used = Counter(request.header("authorization") for request in plain.asked("many-keys"))
    assert used == {f"Bearer {RIGHT}": 6, f"Bearer {OTHER}": 2}
    seen = len(plain.asked("many-keys"))
    plain.always(
        "many-keys",
        lambda request: (reply() if request.header("authorization") == f"Bearer {OTHER}" else refusal(401))(request),
    )
    assert [roads.ask(key, chat("many-keys")).status_code for _ in range(4)] == [200] * 4, "another key is tried"
    later = [request.header("authorization") for request in plain.asked("many-keys")[seen:]]
    assert later.count(f"Bearer {RIGHT}") == 1, "a refused credential is not offered again and again"


def test_a_provider_gets_no_more_at_once_than_it_takes(roads: Gateway, plain: Provider) -> None:
    key = roads.create_key()
    plain.always("narrow", reply(gap_s=0.2))
    started = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: roads.ask(key, chat("narrow")).status_code, range(6)))
    assert set(answers) <= {200, 503}
    instants = sorted(request.at_s for request in plain.asked("narrow"))
    assert len(instants) == answers.count(200)
    assert all(third - first >= 0.15 for first, third in zip(instants, instants[2:], strict=False))
    assert time.monotonic() - started < 5


def test_the_base_url_keeps_its_own_path(roads: Gateway, plain: Provider) -> None:
    assert roads.ask(roads.create_key(), chat("deep")).status_code == 200
    assert plain.asked("deep")[0].target == "/a/b/chat/completions"
