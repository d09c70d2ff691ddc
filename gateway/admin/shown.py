"""What the admin API answers: money as decimal text named `_usd`, times as RFC 3339 in UTC. Fields come, none goes."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

Usd = Annotated[
    str, Field(pattern=r"^-?\d+\.\d{9}$", examples=["0.001234500"], description="US dollars, nine decimals")
]
Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="RFC 3339, UTC")]


class Rules(BaseModel):
    """What a key and a team say of each request alike."""

    models_allowed: list[str] = []
    limits: Annotated[
        dict[str, Any],
        Field(description="`requests_per_minute`, `tokens_per_minute`, `concurrency_max`; `models`: these, by pattern"),
    ] = {}
    tags: dict[str, str] = {}
    tags_required: list[str] = []
    tags_allowed: dict[str, list[str]] = {}


class Team(Rules):
    id: str
    name: str
    organization_id: str | None = None
    created_at: Instant
    version: int


class Key(Rules):
    id: str
    name: str
    prefix: str
    team_id: str | None = None
    user_id: str | None = None
    organization_id: str | None = None
    scopes: list[str] = []
    created_at: Instant
    expires_at: Instant | None = None
    revoked_at: Instant | None = None
    version: int


class NewKey(Key):
    key: Annotated[str | None, Field(description="The secret, this once. Null when only its SHA-256 was sent.")] = None


class Listing(BaseModel):
    has_more: bool
    next: Annotated[str | None, Field(description="Pass it as `after`.")] = None


class Teams(Listing):
    data: list[Team]


class Keys(Listing):
    data: list[Key]


class Usage(Listing):
    data: Annotated[
        list[dict[str, Any]],
        Field(
            description="The columns of `group_by`, then `requests`, `input_tokens`, `cached_input_tokens`, "
            "`output_tokens`, `reasoning_tokens`, `cost_usd`, `estimated_usd`, `pending_usd`, `saved_usd`."
        ),
    ]


class Request(BaseModel):
    id: str
    created_at: Instant
    status: int
    error_code: str | None = None
    model_asked: str
    model: str | None = None
    provider: str | None = None
    route: Annotated[str, Field(description="`pinned`, `pool`, `fallback`, …: one token naming the reason")]
    why: Annotated[str, Field(description="The reason in a sentence")]
    cache: str
    stream: bool
    key_id: str
    team_id: str | None = None
    user_id: str | None = None
    end_user: str | None = None
    tags: list[str] = []
    duration_ms: float
    first_content_ms: float | None = None
    cost_usd: Usd


class Tokens(BaseModel):
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    audio_input_tokens: int
    audio_output_tokens: int


class LedgerEntry(BaseModel):
    id: str
    kind: str
    amount_usd: Usd
    created_at: Instant


class Attempt(Tokens):
    attempt: int
    provider: str
    model: str
    why: str
    status: int | None = None
    outcome: str
    error: str | None = None
    started_at: Instant
    duration_ms: float
    cost_usd: Usd
    entries: list[LedgerEntry] = []


class RequestInFull(Request):
    attempts: list[Attempt]


class Requests(Listing):
    data: list[Request]


class Deployment(BaseModel):
    id: str
    name: str
    provider: str
    model: str
    weight: int
    state: Annotated[str, Field(description="`ready` or `cooling`")]
    cooling_until: Instant | None = None
    reason: str | None = None


class Models(BaseModel):
    data: list[Deployment]


class Provider(BaseModel):
    provider: str
    deployments: int
    cooling: int
    state: Annotated[str, Field(description="`ready`, `degraded` (some deployments cool) or `cooling` (all of them)")]


class Providers(BaseModel):
    data: list[Provider]


class Health(BaseModel):
    ready: bool
    missing: list[str]
    pending_usd: Usd
    version: str


class Replica(BaseModel):
    model: str
    replica: int
    state: Annotated[str, Field(description="`stopped`, `starting`, `warming`, `ready`, `draining`, `crashed`, …")]
    since: Instant
    phase: str
    percent: Annotated[int | None, Field(description="How far it is with `phase`, where it tells")] = None
    address: str | None = None
    restarts: int
    cause: Annotated[str | None, Field(description="Why it last failed, in the engine's own words")] = None


class Replicas(BaseModel):
    data: list[Replica]


class Logs(BaseModel):
    model: str
    lines: list[str]


class Problem(BaseModel):
    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[dict[str, str]] = []
