"""What callers of the admin API may send. An unknown field is refused with the nearest known one, never ignored."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from billing.limits import LIMIT_MAX
from gateway.caller import TAGS_MAX

PAGE_ROWS_MAX: Final = 1000
PAGE_ROWS: Final = 100
LOG_LINES_MAX: Final = 10_000
OVERLAP_S_MAX: Final = 30 * 24 * 3600
GROUP_COLUMNS: Final = ("organization", "team", "user", "key", "end_user", "model", "provider", "day")
TAG_PREFIX: Final = "tag:"

Name = Annotated[str, Field(min_length=1, max_length=200)]
Id = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")]
Pattern = Annotated[str, Field(min_length=1, max_length=200)]
# Neither a comma, which parts tags in a header, nor `=` in a name.
TagName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\s,=]+$")]
TagText = Annotated[str, Field(max_length=150, pattern=r"^[^,]*$")]
Texts = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(max_length=1000)]


def nearest(name: str, known: Iterable[str]) -> str | None:
    found = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return found[0] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    near = nearest(name, known)
    return f"did you mean `{near}`?" if near else f"known are: {', '.join(f'`{one}`' for one in known)}."


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)

    @model_validator(mode="before")
    @classmethod
    def _no_unknown_fields(cls, sent: Any) -> Any:
        if not isinstance(sent, Mapping):
            return sent
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for name in sent:
            if name not in known:
                raise PydanticCustomError("unknown_field", "{advice}", {"field": name, "advice": advice(name, known)})
        return sent


def advice(name: str, known: Iterable[str]) -> str:
    return f"`{name[:100]}` is not known here; {did_you_mean(name, known)}"


class PageAsked(Asked):
    limit: Annotated[int, Field(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS
    after: Annotated[str, Field(max_length=500)] | None = None


class KeysAsked(PageAsked):
    team_id: str | None = None
    user_id: str | None = None


class RequestsAsked(PageAsked):
    pass


LimitAsked = Annotated[int, Field(ge=0, le=LIMIT_MAX)] | None


class ModelLimits(Asked):
    requests_per_minute: LimitAsked = None
    tokens_per_minute: LimitAsked = None
    concurrency_max: LimitAsked = None


class Limits(ModelLimits):
    models: Annotated[dict[Pattern, ModelLimits], Field(max_length=1000)] = {}

    @model_serializer(mode="wrap")
    def _as_sent(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What says nothing is left out."""
        return {name: value for name, value in serialize(self).items() if value not in (None, {})}


class RulesAsked(Asked):
    """What a key and a team may say of each request alike."""

    models_allowed: Texts = ()
    limits: Limits = Limits()
    tags: Annotated[dict[TagName, TagText], Field(max_length=TAGS_MAX)] = {}
    tags_required: Annotated[tuple[TagName, ...], Field(max_length=TAGS_MAX)] = ()
    tags_allowed: Annotated[dict[TagName, tuple[TagText, ...]], Field(max_length=TAGS_MAX)] = {}


class TeamAsked(RulesAsked):
    name: Name
    id: Id | None = None
    organization_id: Id | None = None


class TeamChange(RulesAsked):
    name: Name = ""
    organization_id: Id | None = None


class KeyChange(RulesAsked):
    name: Name = ""
    team_id: Id | None = None
    user_id: Id | None = None
    expires_at: AwareDatetime | None = None
    scopes: Texts = ()


class KeyAsked(RulesAsked):
    name: Name
    id: Id | None = None
    key: Annotated[str, Field(max_length=512)] | None = None
    key_sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = None
    team_id: Id | None = None
    user_id: Id | None = None
    organization_id: Id | None = None
    expires_at: AwareDatetime | None = None
    scopes: Texts = ()

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if self.key is not None and self.key_sha256 is not None:
            raise PydanticCustomError("two_secrets", "send `key` or `key_sha256`, not both", {"field": "key"})
        if self.key is not None and not strong(self.key):
            raise PydanticCustomError(
                "weak_key",
                "`key` must hold at least 128 bits: 22 random letters and digits or more, without spaces; "
                "leave it out to have one made",
                {"field": "key"},
            )
        return self


class RotationAsked(Asked):
    overlap_seconds: Annotated[int, Field(ge=0, le=OVERLAP_S_MAX)] = 0


class LogsAsked(Asked):
    lines: Annotated[int, Field(ge=1, le=LOG_LINES_MAX)] = 200


def _known_columns(text: str) -> str:
    for column in columns_of(text):
        named_tag = column.startswith(TAG_PREFIX) and len(column) > len(TAG_PREFIX)
        if column not in GROUP_COLUMNS and not named_tag:
            hint = advice(column, (*GROUP_COLUMNS, "tag:NAME"))
            raise PydanticCustomError("unknown_column", "{hint}", {"hint": hint})
    return text


def known_timezone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise PydanticCustomError(
            "unknown_timezone", "not a time zone that is known here; send an IANA name as `Europe/Berlin`"
        ) from error
    return text


def columns_of(group_by: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in group_by.split(",") if part.strip()))


Filter = Annotated[str, Field(max_length=256)] | None
_FILTERED: Final = {
    **{name: f"{name}_id" for name in ("organization", "team", "user", "key")},
    "model": "model",
    "provider": "provider",
}


class UsageAsked(Asked):
    group_by: Annotated[str, Field(max_length=500), AfterValidator(_known_columns)] = ""
    from_: Annotated[str | None, Field(alias="from", max_length=40)] = None
    to: Annotated[str, Field(max_length=40)] | None = None
    timezone: Annotated[str, Field(max_length=60), AfterValidator(known_timezone)] = "UTC"
    format: Literal["json", "csv"] = "json"
    # Each keeps one's rows alone.
    organization: Filter = None
    team: Filter = None
    user: Filter = None
    key: Filter = None
    model: Filter = None
    provider: Filter = None
    # Unlike a list, a report is whole unless told otherwise: whoever adds its rows up must not miss some.
    limit: Annotated[int, Field(ge=1, le=PAGE_ROWS_MAX)] | None = None
    after: Annotated[str, Field(pattern=r"^[0-9]{1,9}$")] | None = None

    def filters(self) -> dict[str, str]:
        """As the store names them."""
        given = {name: getattr(self, name) for name in _FILTERED}
        return {_FILTERED[name]: value for name, value in given.items() if value is not None}


# Fewer different characters than this is no random secret of 128 bits, whatever its length.
_DIFFERENT_CHARACTERS_MIN: Final = 8
_SECRET: Final = re.compile(r"[!-~]{22,512}")


def strong(secret: str) -> bool:
    """Could this hold 128 bits? 22 characters of base62 do; more cannot be told from looking at it."""
    return _SECRET.fullmatch(secret) is not None and len(set(secret)) >= _DIFFERENT_CHARACTERS_MIN
