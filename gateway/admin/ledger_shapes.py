"""Proofs, transfers, comparisons and leases of the ledger as the admin API takes and shows them."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from billing.corrections import REASON_CHARS_MAX
from billing.holds import REQUEST_ID_CHARS_MAX
from billing.money import parse_usd
from gateway.admin.asked import Asked, Id, TagName, TagText, known_timezone
from gateway.admin.audit_shapes import Actor
from gateway.admin.shown import Instant, Listing, Usd
from gateway.caller import TAGS_MAX


def _signed(value: object) -> object:
    if isinstance(value, float | bool):
        raise PydanticCustomError("inexact", 'send the amount as text, as in `"-2.50"`: a number may lose digits')
    if isinstance(value, str | int):
        try:
            parse_usd(str(value))
        except ValueError as error:
            raise PydanticCustomError("no_amount", "{said}", {"said": str(error)}) from None
        return str(value)
    return value


Amount = Annotated[str, BeforeValidator(_signed), Field(max_length=40)]
Reason = Annotated[str, Field(min_length=1, max_length=REASON_CHARS_MAX)]
Name = Annotated[str, Field(min_length=1, max_length=256)]


class TransferAsked(Asked):
    """To whom an amount is charged; or of which attempt it corrects what was charged."""

    amount_usd: Amount
    kind: Literal["adjustment", "refund", "overrun", "opening"]
    reason: Reason
    id: Annotated[str, Field(min_length=1, max_length=REQUEST_ID_CHARS_MAX)] | None = None
    at: Annotated[str, Field(max_length=40)] | None = None
    organization_id: Id | None = None
    team_id: Id | None = None
    user_id: Id | None = None
    key_id: Id | None = None
    end_user: Name | None = None
    provider: Name | None = None
    model: Name | None = None
    tags: Annotated[dict[TagName, TagText], Field(max_length=TAGS_MAX, default_factory=dict)]
    request_id: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    attempt: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        if self.request_id is None:
            if self.attempt is not None:
                raise PydanticCustomError("request_missing", "name the attempt's `request_id`", {"field": "request_id"})
            return self
        named = self.model_fields_set & {
            *("id", "at", "organization_id", "team_id", "user_id", "key_id"),
            *("end_user", "provider", "model", "tags"),
        }
        if named:
            raise PydanticCustomError(
                "both",
                "an attempt has its own time and accounts: leave out {named}",
                {"named": ", ".join(f"`{name}`" for name in sorted(named))},
            )
        return self


class Transfer(BaseModel):
    id: Annotated[str, Field(description="Of the transfer, or of the request that it corrects")]
    entry_id: str
    kind: str
    amount_usd: Usd
    at: Instant
    reason: str


class PostedTransfer(BaseModel):
    """As the audit log has it."""

    id: Annotated[str, Field(description="Of the audit log's row: pass the last one as `after`")]
    of: Annotated[str, Field(description="The transfer's own id; `REQUEST/ATTEMPT` of what corrects one")]
    entry_ids: list[str]
    amount_usd: Usd
    reason: str
    actor: Actor
    posted_at: Instant


class PostedTransfers(Listing):
    data: list[PostedTransfer]


class LedgerProblem(BaseModel):
    kind: str
    batch_id: str | None = None
    entry_ids: list[str] = []
    detail: str


class Verdict(BaseModel):
    ok: bool
    batches: int
    entries: int
    problems: list[LedgerProblem]


class ReconcileAsked(Asked):
    provider: Name = "openai"
    timezone: Annotated[str, Field(max_length=60), AfterValidator(known_timezone)] = "UTC"
    # `EUR=1.08`, several parted by commas.
    rates: Annotated[str, Field(max_length=500)] = ""


class Part(BaseModel):
    why: str
    amount_usd: str
    detail: str


class Difference(BaseModel):
    """`difference_usd` is what the provider charged beyond the ledger; its parts add up to it."""

    from_: Annotated[Instant, Field(serialization_alias="from")]
    to: Instant
    model: str | None = None
    provider_usd: str
    ledger_usd: str
    difference_usd: str
    parts: list[Part]


class Reconciliation(BaseModel):
    data: list[Difference]
    provider_usd: str
    ledger_usd: str
    unexplained_usd: str
    by_reason: dict[str, str]


class Lease(BaseModel):
    """A slice of a budget's headroom in one worker's hands."""

    id: str
    budget_id: str
    subject: str
    amount_usd: Usd
    requests: int
    taken_at: Instant
    journal: str


class Leases(BaseModel):
    data: list[Lease]


class CloseAsked(Asked):
    reason: Reason
    force: bool = False


class Closed(BaseModel):
    id: str
    amount_usd: Usd
    posted_as: Literal["unknown"] = "unknown"
