"""Every key that Turnpike reads, its default and its meaning; what a field cannot mean, its type refuses."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from billing.limits import LIMIT_MAX
from gateway.config import values

# A price above this is a typing error: a million dollars per million tokens.
USD_MAX: Final = Decimal(1_000_000)
COUNT_MAX: Final = 2**53

Count = Annotated[int, BeforeValidator(values.no_bool)]
Seconds = Annotated[float, BeforeValidator(values.no_bool), Field(gt=0, le=31_536_000, allow_inf_nan=False)]
Bytes = Annotated[int, BeforeValidator(values.no_bool), Field(gt=0, le=COUNT_MAX)]
UsdPerMillion = Annotated[Decimal, Field(ge=0, le=USD_MAX), BeforeValidator(values.exact_pico)]
Secret = Annotated[SecretStr, BeforeValidator(values.secret)]
Name = Annotated[str, Field(min_length=1, max_length=256), BeforeValidator(values.printable)]


class Section(BaseModel):
    """A frozen mapping with known keys. A key with nothing after it (`tls:`) means its default."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _nothing_means_default(cls, value: object) -> object:
        if value is None:
            return {}
        if not isinstance(value, dict):
            return value
        return {key: item for key, item in value.items() if item is not None or key not in cls.model_fields}


class ServerSection(Section):
    host: Name = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[Count, Field(ge=0, le=65535)] = 8787
    """Port to listen on; 0 takes a free one."""
    workers: Annotated[Count, Field(ge=1, le=64)] = 1
    """Processes that serve, of this machine, on one port and one database."""
    request_body_bytes_max: Bytes = 52_428_800
    """A request body above this is refused with 413."""
    response_body_bytes_max: Bytes = 268_435_456
    """A provider's unstreamed answer above this is given up, and the attempt counts as failed."""
    header_bytes_max: Annotated[Count, Field(ge=1024, le=16_777_216)] = 65_536
    """Request line and headers together above this are refused with 431; a provider's answer likewise."""
    requests_in_flight_max: Annotated[Count, Field(ge=1, le=1_000_000)] = 10_000
    """Above this new requests get 503 `overloaded` with `retry-after`."""
    body_timeout_s: Seconds = 30
    """A request body that takes longer to arrive is refused with 408."""
    client_stall_s: Seconds = 60
    """A client that reads nothing of its answer for this long is cut off."""
    keepalive_s: Seconds = 75
    """An idle client connection is closed after this long."""
    sse_keepalive_s: Seconds = 25
    """A stream that is silent for this long gets a `: ping` comment."""
    creation_takeover_s: Seconds = 10
    """A creation under an `idempotency-key` that stays unanswered for this long is the next request's to make."""
    drain_delay_s: Annotated[float, BeforeValidator(values.no_bool), Field(ge=0, le=86_400, allow_inf_nan=False)] = 5
    """After SIGTERM: not ready, but still accepting, so that a load balancer notices."""
    drain_seconds_max: Annotated[
        float, BeforeValidator(values.no_bool), Field(ge=0, le=86_400, allow_inf_nan=False)
    ] = 60
    """After that: how long requests in flight may take to end."""


class StateSection(Section):
    directory: Annotated[Path, BeforeValidator(values.not_empty)] = Path("~/.local/share/turnpike")
    """Where the journal, the database and generated keys live."""
    database: Annotated[str, BeforeValidator(values.database)] = Field(default="sqlite", repr=False)
    """`sqlite` (a file in the state directory), `sqlite:///PATH`, or `postgresql://USER:PASSWORD@HOST/NAME`."""

    @property
    def database_url(self) -> str:
        """The address as SQLAlchemy takes it."""
        if self.database != "sqlite":
            return self.database
        return f"sqlite:///{self.directory / 'turnpike.db'}"

    @property
    def migrates_itself(self) -> bool:
        """A file of the gateway's own; a server's schema is changed when somebody says so."""
        return self.database.startswith("sqlite")

    @property
    def admin_key_file(self) -> Path:
        """Where a generated admin key lies, readable by its owner alone."""
        return self.directory / "admin.key"


class AuthSection(Section):
    admin_key: Secret | None = None
    """The key of `/admin`. Else TURNPIKE_ADMIN_KEY; else one is generated into the state directory."""
    failures_per_minute_max: Annotated[Count, Field(ge=1, le=1_000_000_000)] = 600
    """Of requests with keys that are unknown, expired or revoked, from one address, in each worker."""


class ApiKey(Section):
    key: Secret
    """The credential, best as `env:NAME` or `file:PATH`."""
    weight: Annotated[Count, Field(ge=1, le=1_000_000)] = 1
    """Its share of the requests, against the other keys."""


class TimeoutsSection(Section):
    connect_s: Seconds = 5
    """For the connection, TLS included."""
    first_byte_s: Seconds = 600
    """For the first byte of a streamed answer."""
    idle_s: Seconds = 300
    """Between two bytes of a streamed answer."""
    total_s: Seconds = 3600
    """For one attempt, from start to end."""


class ProviderRow(Section):
    dialect: Literal["openai"] = "openai"
    """What the server speaks."""
    base_url: Annotated[str, BeforeValidator(values.base_url)] | None = None
    """Address up to and with `/v1`; known providers have their own."""
    api_key: Secret | None = None
    """The credential, best as `env:NAME` or `file:PATH`. A known provider without one takes its usual variable."""
    api_keys: tuple[ApiKey, ...] = Field(default=(), max_length=1000)
    """Several credentials with weights, instead of `api_key`."""
    headers: dict[str, Annotated[str, BeforeValidator(values.printable)]] = Field(
        default_factory=dict, repr=False, max_length=100
    )
    """Sent with each request."""
    forward_headers: tuple[Annotated[str, BeforeValidator(values.client_header_name)], ...] = Field(
        default=(), max_length=100
    )
    """Names of a client's headers that are let through."""
    timeouts: TimeoutsSection = TimeoutsSection()
    """How long to wait for what."""
    concurrency_max: Annotated[Count, Field(ge=1, le=1_000_000)] | None = None
    """Requests in flight to this provider; null: no bound of its own."""

    @model_validator(mode="before")
    @classmethod
    def _one_key_is_a_list_of_one(cls, value: object) -> object:
        """So that readers look at `api_keys` alone."""
        if not isinstance(value, dict) or value.get("api_key") is None:
            return value
        if value.get("api_keys") is not None:
            raise ValueError("has both api_key and api_keys; keep one")
        key = value["api_key"]
        return value | {"api_keys": [{"key": key}]} if isinstance(key, str) and key else value

    @model_validator(mode="before")
    @classmethod
    def _headers_are_fit_to_send(cls, value: object) -> object:
        if not isinstance(value, dict) or not isinstance(value.get("headers"), dict):
            return value
        return value | {"headers": {values.header(name): content for name, content in value["headers"].items()}}


class LocalModelRow(Section):
    model: Name
    """What the executable is told to serve: a name on a hub, or a folder."""
    replicas: Annotated[Count, Field(ge=1, le=64)] = 1
    """Processes that serve it."""
    args: Annotated[dict[str, str | int | bool | tuple[str, ...]], BeforeValidator(values.args_as_words)] = Field(
        default_factory=dict
    )
    """Flags for the executable, without their dashes: `true` is the flag alone, a mapping is passed as JSON."""
    start: Literal["on_demand", "eager"] = "on_demand"
    """With the first request, or with the gateway."""


class LocalSection(Section):
    command: tuple[Name, ...] | None = Field(default=None, min_length=1)
    """The executable that serves a model; null: what `turnpike local install` made, else `vllm` on the PATH."""
    models: dict[str, LocalModelRow] = Field(default_factory=dict)
    """Models served on this machine, by the name that callers use as `local/NAME`."""


class TierRow(Section):
    above_input_tokens: Annotated[Count, Field(ge=1, le=COUNT_MAX)]
    """A prompt longer than this takes this tier, whole."""
    input: UsdPerMillion
    """USD per million input tokens."""
    cached_input: UsdPerMillion | None = None
    """USD per million input tokens read from the provider's cache; null: as `input`."""
    output: UsdPerMillion
    """USD per million output tokens."""


class PriceRow(Section):
    input: UsdPerMillion
    """USD per million input tokens."""
    cached_input: UsdPerMillion | None = None
    """USD per million input tokens read from the provider's cache; null: as `input`."""
    cache_write: UsdPerMillion | None = None
    """USD per million input tokens written to the provider's cache; null: as `input`."""
    output: UsdPerMillion
    """USD per million output tokens; 0 for a model that writes none."""
    reasoning: UsdPerMillion | None = None
    """USD per million reasoning tokens; null: as `output`."""
    audio_input: UsdPerMillion | None = None
    """USD per million audio input tokens; null: as `input`."""
    audio_output: UsdPerMillion | None = None
    """USD per million audio output tokens; null: as `output`."""
    request: Annotated[Decimal, Field(ge=0, le=USD_MAX), BeforeValidator(values.exact_nano)] = Decimal(0)
    """USD for each request."""
    tiers: tuple[TierRow, ...] = Field(default=(), max_length=32)
    """Prices of long prompts, shortest first."""

    @model_validator(mode="after")
    def _tiers_ascend(self) -> PriceRow:
        starts = [tier.above_input_tokens for tier in self.tiers]
        if any(low >= high for low, high in pairwise(starts)):
            raise ValueError("has tiers out of order; sort them by above_input_tokens, each once")
        return self


class DeploymentRow(Section):
    provider: Name
    """A key of `providers`, a known provider whose key is in the environment, or `local`."""
    model: Name
    """The model's name there; with `local`, a key of `local.models`."""
    weight: Annotated[Count, Field(ge=0, le=1_000_000)] = 1
    """Its share of the requests, against the other deployments of the name; 0 only takes over when those fail."""
    price: PriceRow | None = None
    """Overrides the price table; null: the table's price, and nothing for `local`."""


class RoutingSection(Section):
    fallbacks: dict[str, tuple[Name, ...]] = Field(default_factory=dict)
    """Names tried in order when every deployment of a name has failed."""
    over_budget: Literal["reject", "downgrade"] = "reject"
    """What happens when a budget has no room and says nothing itself: refuse, or try the cheapest allowed target."""


class ExactCacheSection(Section):
    enabled: bool = True
    """Whether a request that was answered before is answered from memory."""
    ttl_s: Seconds = 3600
    """How long an answer is kept."""
    temperature_max: Annotated[float, BeforeValidator(values.no_bool), Field(ge=0, le=2, allow_inf_nan=False)] = 0
    """Requests above it are not kept; an absent temperature is the API's default, 1."""
    scope: Literal["key", "team", "organization"] = "team"
    """Who shares an answer. Without a team, the key."""


class CacheSection(Section):
    exact: ExactCacheSection = ExactCacheSection()
    """Answers to the same request."""


class LimitsSection(Section):
    """Of each key, where the key says nothing."""

    requests_per_minute: Annotated[Count, Field(ge=1, le=LIMIT_MAX)] | None = None
    """Requests a minute; null: any number."""
    tokens_per_minute: Annotated[Count, Field(ge=1, le=LIMIT_MAX)] | None = None
    """Tokens a minute, of input and output together."""
    concurrency_max: Annotated[Count, Field(ge=1, le=LIMIT_MAX)] | None = None
    """Requests under way at once."""


class BillingSection(Section):
    journal_sync: Literal["os", "group", "always"] = "os"
    """What a power cut may lose: `os` leaves it to the operating system, `group` lets the attempts of a moment wait
    for the disk together before the first byte goes upstream, `always` waits for it twice an attempt, then and when
    its usage is known. A killed process loses nothing."""
    database_grace_s: Annotated[Count, Field(ge=0, le=86_400)] = 30
    """While the database is away keys under a hard budget spend what is leased, this long."""
    database_down: Literal["refuse", "open"] = "refuse"
    """What such a key gets then, or when nothing is leased: 503, or an answer that is posted later, unchecked."""
    unknown_outcome: Literal["charge_hold", "charge_input"] = "charge_hold"
    """What an attempt costs that a provider may have billed and whose usage never arrived: all that was held, or,
    where no hard budget binds it, an estimate of its input."""
    cancelled_stream: Literal["cancel", "drain"] = "cancel"
    """When the client hangs up: stop the provider, or read on to its bill."""


class RetentionSection(Section):
    requests_days: Annotated[Count, Field(ge=1, le=36_500)] = 90
    """How long a request's row is kept, in days. Ledger entries and sums are kept for ever."""


class TelemetrySection(Section):
    log_format: Literal["json"] = "json"
    """One JSON object a line."""


class MetricsSection(Section):
    token: Secret | None = None
    """Bearer token of `/metrics`; without one it answers loopback alone."""
    labels: tuple[str, ...] = ("team", "model", "provider")
    """Labels of the metrics."""


class WebhookRow(Section):
    url: Annotated[SecretStr, BeforeValidator(values.webhook_url)]
    """Where events are sent, with POST. An address that is itself a secret is best as `env:NAME` or `file:PATH`."""
    secret: Annotated[Secret, Field(min_length=16)]
    """What `x-turnpike-signature` is made with, 16 characters or more."""
    events: tuple[Literal["budget_threshold", "budget_soft_limit"], ...] = Field(
        default=("budget_threshold", "budget_soft_limit"), min_length=1
    )
    """What is sent."""


class AlertsSection(Section):
    thresholds: tuple[Annotated[Decimal, Field(gt=0, le=1, decimal_places=6)], ...] = Field(
        default=(Decimal("0.8"), Decimal("0.95"), Decimal("1.0")), max_length=20
    )
    """Shares of a budget's limit that are told when they are crossed, once in each window."""
    webhooks: tuple[WebhookRow, ...] = Field(default=(), max_length=16)
    """Who is told, beside the log."""

    @model_validator(mode="after")
    def _each_address_once(self) -> AlertsSection:
        urls = [row.url.get_secret_value() for row in self.webhooks]
        if len(set(urls)) < len(urls):
            raise ValueError("has a webhook twice; keep one, with the events of both")
        return self


class Settings(Section):
    """Turnpike's configuration. Every key is optional."""

    server: ServerSection = ServerSection()
    """How the gateway listens, and its bounds."""
    state: StateSection = StateSection()
    """What must survive a restart."""
    auth: AuthSection = AuthSection()
    """Who may administrate."""
    providers: dict[str, ProviderRow] = Field(default_factory=dict, max_length=1000)
    """Where requests may go. Absent: every known provider whose key is in the environment."""
    local: LocalSection = LocalSection()
    """Models served on this machine."""
    models: dict[str, tuple[DeploymentRow, ...]] = Field(default_factory=dict, max_length=10_000)
    """Names that callers may use, each a pool of deployments."""
    routing: RoutingSection = RoutingSection()
    """Which deployment answers."""
    cache: CacheSection = CacheSection()
    """What was answered before."""
    limits: LimitsSection = LimitsSection()
    """How much each key may ask, where the key says nothing."""
    billing: BillingSection = BillingSection()
    """How costs are kept."""
    retention: RetentionSection = RetentionSection()
    """How long what is told about requests is kept."""
    telemetry: TelemetrySection = TelemetrySection()
    """What is told about requests."""
    metrics: MetricsSection = MetricsSection()
    """Figures for Prometheus."""
    alerts: AlertsSection = AlertsSection()
    """Who is told when a budget is nearly spent."""
