"""What the pages read, whoever keeps it: amounts in nano-USD, instants in microseconds. `loader` fills them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gateway.admin.pages.figures import share_permille

Shown = TypeVar("Shown")


@dataclass(frozen=True, slots=True)
class Listed(Generic[Shown]):
    """A page of a list; `next` leads on."""

    data: tuple[Shown, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Organization:
    id: str
    name: str
    version: int
    created_at_us: int


@dataclass(frozen=True, slots=True)
class Team:
    id: str
    name: str
    organization_id: str | None
    version: int
    created_at_us: int


@dataclass(frozen=True, slots=True)
class User:
    id: str
    name: str
    email: str
    role: str
    organization_id: str | None
    version: int
    created_at_us: int


@dataclass(frozen=True, slots=True)
class Member:
    team_id: str
    user_id: str
    created_at_us: int


@dataclass(frozen=True, slots=True)
class Key:
    id: str
    name: str
    prefix: str
    team_id: str | None
    user_id: str | None
    models_allowed: tuple[str, ...]
    limits: Mapping[str, object]
    created_at_us: int
    expires_at_us: int | None
    revoked_at_us: int | None
    version: int

    def state(self, now_at_us: int) -> str:
        if self.revoked_at_us is not None:
            return "revoked"
        return "expired" if self.expires_at_us is not None and self.expires_at_us <= now_at_us else "valid"


@dataclass(frozen=True, slots=True)
class Account:
    """One subject of a budget in the window that is open now."""

    subject: str
    start_us: int
    end_us: int | None
    limit_nano_usd: int | None
    posted_nano_usd: int
    pending_nano_usd: int

    @property
    def left_nano_usd(self) -> int | None:
        if self.limit_nano_usd is None:
            return None
        return self.limit_nano_usd - self.posted_nano_usd - self.pending_nano_usd

    @property
    def used_permille(self) -> int:
        return share_permille(self.posted_nano_usd, self.limit_nano_usd or 0)

    @property
    def held_permille(self) -> int:
        return share_permille(self.pending_nano_usd, self.limit_nano_usd or 0)


@dataclass(frozen=True, slots=True)
class Budget:
    id: str
    scope_type: str
    scope_id: str
    scope_team_id: str | None
    limit_nano_usd: int | None
    soft_limit_nano_usd: int | None
    window: str
    timezone: str
    over_budget: str | None
    version: int
    created_at_us: int
    accounts: tuple[Account, ...] = ()  # the fullest first; of many not all
    accounts_total: int = 0

    @property
    def fullest(self) -> Account | None:
        return self.accounts[0] if self.accounts else None

    def tone(self, account: Account) -> str:
        """How far one of its accounts is, as a word that the stylesheet has a colour for."""
        if account.left_nano_usd is not None and account.left_nano_usd <= 0:
            return "bad"
        soft = self.soft_limit_nano_usd
        return "warn" if soft is not None and account.posted_nano_usd >= soft else ""


@dataclass(frozen=True, slots=True)
class Change:
    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Audited:
    id: int
    at_us: int
    actor: str
    action: str
    object_id: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Names:
    """By id, what people call it; the deleted included, as far as they are known."""

    organizations: Mapping[str, str] = field(default_factory=dict)
    teams: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)

    def of(self, kind: str, one: str) -> str:
        known = {"organization": self.organizations, "team": self.teams, "user": self.users, "key": self.keys}
        return known.get(kind, {}).get(one, one)
