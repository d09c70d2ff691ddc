"""Tells of budgets that cross a threshold: a line in the log at once, and signed webhooks until each has it.

At least once and in order, each webhook for itself: an event that is not taken is tried again, with growing waits, and
those behind it wait. What was not delivered stands in the database, so that a restart loses none.
"""

import hashlib
import hmac
import logging
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Final

import orjson

from billing.alerts import BudgetEvent, given_up, thresholds_of, wait_us
from billing.budget_events import Alerts, Hook, Outbox
from gateway.config.schema import AlertsSection
from gateway.wire.tunnel import proxy_for
from gateway.wire.upstream import Origin

SIGNATURE: Final = "x-turnpike-signature"
EVENT_ID: Final = "x-turnpike-event-id"
EVENTS_AT_ONCE_MAX: Final = 100  # read ahead of one webhook; the rest of its queue stays in the database
ANSWER_S_MAX: Final = 10
ANSWER_BYTES_MAX: Final = 65_536
LOOK_S: Final = 2.0  # for events of other workers, which nobody here is told of
MILLIONTHS: Final = 1_000_000

# Sends a body to a webhook; the answer's status. Raises OSError or HTTPException where there is none.
Post = Callable[[str, bytes, Mapping[str, str]], int]
log = logging.getLogger("turnpike")


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where events go. Its name in the books is the address's hash: an address may itself be a secret."""

    url: str = field(repr=False)
    secret: bytes = field(repr=False)
    events: frozenset[str]

    @property
    def hook(self) -> Hook:
        return Hook(hashlib.sha256(self.url.encode()).hexdigest()[:32], self.events)

    @property
    def host(self) -> str:
        """As much of it as a log may show."""
        return Origin.of(self.url).host


def webhooks_of(section: AlertsSection) -> list[Webhook]:
    return [
        Webhook(row.url.get_secret_value(), row.secret.get_secret_value().encode(), frozenset(row.events))
        for row in section.webhooks
    ]


def alerts_of(section: AlertsSection) -> Alerts:
    """What the books tell, and to which webhooks."""
    return Alerts(thresholds_of(section.thresholds), tuple(webhook.hook for webhook in webhooks_of(section)))


def signature(secret: bytes, at_s: int, body: bytes) -> str:
    """The time, and the HMAC-SHA256 over it and the body: an old delivery cannot be replayed as a new one."""
    digest = hmac.new(secret, b"%d.%b" % (at_s, body), hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"


def as_line(event: BudgetEvent) -> bytes:
    """The log's line of an event; it is called what the event is."""
    told = orjson.loads(event.document)
    return orjson.dumps({"event": event.type, "at_us": event.at_us, "id": event.id, **told["data"]}) + b"\n"


class Alarms:
    """One thread a webhook. With several workers one of them delivers for all: `delivers`."""

    def __init__(
        self,
        webhooks: Sequence[Webhook],
        outbox: Outbox,
        post: Post,
        *,
        clock: Callable[[], int],
        draw: Callable[[], float],
        sink: Callable[[bytes], object],
        delivers: bool = True,
    ) -> None:
        self._outbox, self._post, self._clock, self._draw, self._sink = outbox, post, clock, draw, sink
        self._turn = threading.Condition()
        self._news = 0
        self._closing = False
        self._opened_at_us = 0
        self._threads = [
            threading.Thread(target=self._serve, args=(webhook,), name="turnpike-webhook", daemon=True)
            for webhook in (webhooks if delivers else ())
        ]

    def open(self) -> None:
        """Begins with what an earlier boot did not deliver."""
        self._opened_at_us = self._clock()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """What is not delivered by now waits for the next start."""
        with self._turn:
            self._closing = True
            self._turn.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def on_crossed(self, events: Iterable[BudgetEvent]) -> None:
        """After the commit, from the flusher's thread: tells the log, and wakes who delivers."""
        lines = b"".join(map(as_line, events))
        if not lines:
            return
        try:
            self._sink(lines)
        except OSError:
            log.exception("the log takes no lines: free its disk, or repair what reads it")
        with self._turn:
            self._news += 1
            self._turn.notify_all()

    def _serve(self, webhook: Webhook) -> None:
        hook = webhook.hook
        seen, failures = -1, 0
        while not self._closing:
            try:
                seen = self._news
                dropped = self._outbox.trim(hook.id, self._clock())
                if dropped:
                    log.error("webhook %s takes no events: %d that waited longest are given up", webhook.host, dropped)
                events = self._outbox.waiting(hook.id, EVENTS_AT_ONCE_MAX)
                for event in events:
                    if not self._deliver(webhook, hook, event):
                        return
                failures = 0
            except Exception:
                # Whatever it was: a thread that ends would deliver nothing any more, and nobody would know.
                failures += 1
                log.exception("events of budgets cannot be read or marked as delivered: trying again")
                self._pause(self._wait_us(failures))
                continue
            if not events:
                with self._turn:
                    self._turn.wait_for(lambda seen=seen: self._closing or self._news != seen, LOOK_S)  # type: ignore[misc]

    def _deliver(self, webhook: Webhook, hook: Hook, event: BudgetEvent) -> bool:
        """Until it is taken or given up. False only when closing meanwhile."""
        failures = 0
        while not self._closing:
            trouble = self._try(webhook, event)
            now_at_us = self._clock()
            if trouble is None:
                self._outbox.delivered(hook.id, event.id, now_at_us)
                return True
            if given_up(event.at_us, self._opened_at_us, now_at_us):
                log.error("webhook %s did not take %s for a day, it is given up: %s", webhook.host, event.id, trouble)
                self._outbox.given_up(hook.id, event.id, now_at_us)
                return True
            failures += 1
            log.warning("webhook %s did not take %s, trying again: %s", webhook.host, event.id, trouble)
            self._pause(self._wait_us(failures))
        return False

    def _try(self, webhook: Webhook, event: BudgetEvent) -> str | None:
        """None when it was taken, else why not."""
        body = event.document.encode()
        headers = {
            "content-type": "application/json",
            "user-agent": "turnpike",
            EVENT_ID: event.id,
            SIGNATURE: signature(webhook.secret, self._clock() // MILLIONTHS, body),
        }
        try:
            status = self._post(webhook.url, body, headers)
        except (OSError, HTTPException) as error:
            return type(error).__name__
        return None if 200 <= status < 300 else f"it answered {status}"

    def _wait_us(self, failures: int) -> int:
        return wait_us(failures, int(self._draw() * MILLIONTHS))

    def _pause(self, pause_us: int) -> None:
        with self._turn:
            self._turn.wait_for(lambda: self._closing, pause_us / MILLIONTHS)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A webhook is where it was said to be; whoever answers elsewhere is not told."""

    def redirect_request(self, *_: object) -> None:
        return None


def poster(environ: Mapping[str, str], tls: Callable[[], ssl.SSLContext]) -> Post:
    """Over the proxy that the environment names, with the certificates that it trusts."""

    def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
        origin = Origin.of(url)
        proxy = proxy_for(origin, environ)
        handlers: list[urllib.request.BaseHandler] = [
            urllib.request.ProxyHandler({"http": proxy, "https": proxy} if proxy else {}),
            _NoRedirect(),
        ]
        if origin.tls:
            handlers.append(urllib.request.HTTPSHandler(context=tls()))
        opener = urllib.request.build_opener(*handlers)
        request = urllib.request.Request(url, body, dict(headers), method="POST")  # noqa: S310 - the configuration admits http(s) alone
        try:
            with opener.open(request, timeout=ANSWER_S_MAX) as answer:
                answer.read(ANSWER_BYTES_MAX)
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code

    return post
