"""Webhooks: signed, in order, tried again until they are taken, and found again after a restart."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from billing import queries
from billing.alerts import GIVE_UP_US, thresholds_of
from billing.budget_events import Alerts, Outbox
from billing.database import open_engine, writing
from billing.scopes import Account
from gateway.alerts import Alarms, Webhook, poster, signature
from tests.billing.budget_rows import give_budget
from tests.billing.makers import AT_US
from tests.tidy.test_docs import snippets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from billing.alerts import BudgetEvent
    from tests.fixtures.books import EmptyBooks

BOTH = frozenset({"budget_threshold", "budget_soft_limit"})
SECRET = b"a-secret-of-sixteen-or-more"


class Receiver:
    """Answers what it is told to, then 200; keeps what came."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.url = ""

    def ids(self) -> list[str]:
        return [json.loads(body)["data"]["threshold"] for _, body in self.got]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            status = receiver.answers.pop(0) if receiver.answers else 200
            self.send_response(status)
            if status == 302:
                self.send_header("location", "http://127.0.0.1:1/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hook?x=1"
    yield receiver
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def engine(tmp_path: Path, empty_books: EmptyBooks) -> Iterator[Engine]:
    url = empty_books(tmp_path / "books.db")
    give_budget(url)
    engine = open_engine(url)
    yield engine
    engine.dispose()


class Clock:
    """Real seconds are not waited for: each look at it is a minute later than the one before."""

    def __init__(self, step_us: int = 0) -> None:
        self.now_us, self.step_us = AT_US, step_us

    def __call__(self) -> int:
        self.now_us += self.step_us
        return self.now_us


def spend(engine: Engine, webhook: Webhook, amount: int) -> tuple[BudgetEvent, ...]:
    alerts = Alerts(thresholds_of([Decimal("0.5"), Decimal("0.8"), Decimal(1)]), (webhook.hook,))
    with writing(engine).begin() as tx:
        rules = queries.budget_rules(tx)
        (account,) = queries.account_ids(tx, [(rules[0], Account("b1", "team_1", 0, None))]).values()
        queries.post_to_accounts(tx, {account: amount}, {}, "boot")
        return alerts.crossed(tx, {account: amount}, rules, AT_US)


def eventually(there: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not there():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


@contextmanager
def alarms(engine: Engine, webhook: Webhook, **other: Any) -> Iterator[Alarms]:
    # Nobody tells these threads how long to wait: of a second chance takes half, the least there is.
    given: dict[str, Any] = {"clock": Clock(), "draw": lambda: 0.999999, "sink": lambda _: None}
    made = Alarms([webhook], Outbox(engine), poster({}, lambda: pytest.fail("no TLS here")), **(given | other))
    made.open()
    yield made
    made.close()


def hook(receiver: Receiver) -> Webhook:
    return Webhook(receiver.url, SECRET, BOTH)


def test_an_event_comes_signed_over_its_time_and_its_bytes(engine: Engine, receiver: Receiver) -> None:
    lines: list[bytes] = []
    with alarms(engine, hook(receiver), sink=lines.append) as made:
        (event,) = spend(engine, hook(receiver), 600_000_000)
        made.on_crossed([event])
        eventually(lambda: Outbox(engine).count() == 0, "it is delivered")
    ((headers, body),) = receiver.got
    assert body.decode() == event.document
    at, _, digest = headers["x-turnpike-signature"].removeprefix("t=").partition(",v1=")
    assert int(at) == AT_US // 1_000_000
    assert digest == hmac.new(SECRET, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    assert (headers["x-turnpike-event-id"], headers["content-type"]) == (event.id, "application/json")
    line = json.loads(b"".join(lines))
    assert (line["event"], line["id"], line["threshold"]) == ("budget_threshold", event.id, "0.5")
    assert line["spent_usd"] == "0.600000000"


def test_what_is_not_taken_is_tried_again_and_the_order_is_kept(engine: Engine, receiver: Receiver) -> None:
    receiver.answers = [500, 302]
    with alarms(engine, hook(receiver)) as made:
        made.on_crossed(spend(engine, hook(receiver), 850_000_000))
        made.on_crossed(spend(engine, hook(receiver), 150_000_000))
        eventually(lambda: Outbox(engine).count() == 0, "all are delivered")
    assert receiver.ids() == ["0.5", "0.5", "0.5", "0.8", "1"]


def test_what_nobody_delivered_before_a_restart_is_delivered_after_it(engine: Engine, receiver: Receiver) -> None:
    spend(engine, hook(receiver), 600_000_000)
    with alarms(engine, hook(receiver)):
        eventually(lambda: Outbox(engine).count() == 0, "it was found")
    assert receiver.ids() == ["0.5"]


def test_a_receiver_that_is_away_stops_no_close_and_gets_it_at_the_next_start(
    engine: Engine, receiver: Receiver
) -> None:
    webhook = Webhook("http://127.0.0.1:1/nobody", SECRET, BOTH)
    with alarms(engine, webhook, draw=lambda: 0.0) as made:
        made.on_crossed(spend(engine, webhook, 600_000_000))
    assert Outbox(engine).count() == 1


def test_after_a_day_of_refusals_an_event_is_given_up_and_the_next_is_tried(
    engine: Engine, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [500]
    clock = Clock(step_us=GIVE_UP_US)
    with alarms(engine, hook(receiver), clock=clock) as made:
        made.on_crossed(spend(engine, hook(receiver), 850_000_000))
        eventually(lambda: Outbox(engine).count() == 0, "one was given up, the other taken")
    assert receiver.ids() == ["0.5", "0.8"]
    assert "given up: it answered 500" in caplog.text
    assert "hook?x=1" not in caplog.text, "an address may be a secret"


def test_a_worker_that_does_not_deliver_tells_the_log_alone(engine: Engine, receiver: Receiver) -> None:
    lines: list[bytes] = []
    with alarms(engine, hook(receiver), delivers=False, sink=lines.append) as made:
        made.on_crossed(spend(engine, hook(receiver), 600_000_000))
        made.on_crossed([])
    assert len(lines) == 1
    assert receiver.got == []


def test_a_log_that_takes_no_lines_keeps_no_event_back(engine: Engine, receiver: Receiver) -> None:
    def full(_: bytes) -> None:
        raise OSError(28, "no space left")

    with alarms(engine, hook(receiver), sink=full) as made:
        made.on_crossed(spend(engine, hook(receiver), 600_000_000))
        eventually(lambda: Outbox(engine).count() == 0, "it is delivered")


def test_a_database_that_is_away_for_a_while_ends_no_thread(engine: Engine, receiver: Receiver) -> None:
    class Away(Outbox):
        failing = 1

        def waiting(self, webhook: str, limit: int) -> Any:
            if self.failing:
                self.failing -= 1
                raise ConnectionError("the database is away")
            return super().waiting(webhook, limit)

    spend(engine, hook(receiver), 600_000_000)
    made = Alarms(
        [hook(receiver)], Away(engine), poster({}, lambda: pytest.fail("no TLS here")),
        clock=Clock(), draw=lambda: 0.999999, sink=lambda _: None,
    )  # fmt: skip
    made.open()
    eventually(lambda: Outbox(engine).count() == 0, "it is delivered")
    made.close()


def test_the_signature_is_the_one_of_the_page() -> None:
    assert signature(b"secret", 5, b"{}") == "t=5,v1=" + hmac.new(b"secret", b"5.{}", hashlib.sha256).hexdigest()


def test_a_proxy_of_the_environment_is_used() -> None:
    with receiving() as proxy:
        port = proxy.url.split(":")[2].split("/")[0]
        post = poster({"http_proxy": f"http://127.0.0.1:{port}"}, lambda: pytest.fail("no TLS here"))
        assert post("http://receiver.test/hook", b"{}", {"content-type": "application/json"}) == 200
        assert proxy.got[0][0]["host"] == "receiver.test"


def test_the_receiver_of_the_page_takes_what_we_sign_and_nothing_else() -> None:
    (page,) = (each.text for each in snippets("python") if each.page.name == "alerts.md")
    names: dict[str, Any] = {}
    exec(page[: page.index("class Receiver")], names)
    verify = names["is_from_turnpike"]
    header = signature(SECRET, 1000, b"{}")
    assert verify(SECRET, header, b"{}", 1000)
    assert verify(SECRET, header, b"{}", 1300)
    assert not verify(SECRET, header, b"{}", 1301)
    assert not verify(SECRET, header, b"{ }", 1000)
    assert not verify(b"another", header, b"{}", 1000)
    assert not verify(SECRET, header.replace("t=1000", "t=1001"), b"{}", 1000)
    assert not verify(SECRET, "", b"{}", 1000)
