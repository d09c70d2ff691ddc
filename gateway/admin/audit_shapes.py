"""The audit log as the admin API shows it."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from gateway.admin.asked import PageAsked
from gateway.admin.shown import Instant, Listing

Text = Annotated[str, Field(max_length=256)]


class AuditAsked(PageAsked):
    object_id: Text | None = None
    action: Text | None = None
    actor_id: Text | None = None


class Actor(BaseModel):
    type: Annotated[str, Field(description="`admin_key`, `user`, `command` or `system`")]
    id: str | None = None


class AuditRow(BaseModel):
    id: str
    at: Instant
    actor: Actor
    action: str
    object_id: str
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    hash: Annotated[str, Field(description="Over this row and the hash of the one before it")]


class Audit(Listing):
    data: list[AuditRow]


class AuditVerdict(BaseModel):
    ok: bool
    row_ids: Annotated[list[str], Field(description="Rows that are not as they were written, or do not follow")]
    missing: Annotated[list[str], Field(description="What the log lacks of what was signed, in sentences")]
