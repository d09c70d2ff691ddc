"""Teams, keys, sums and audit rows as objects of OpenAI's organization API. A project is a team. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from billing.audit import AuditRow
from billing.keys import Key
from billing.store import UsageLine
from billing.users import User
from gateway.admin.openai_asked import COST_GROUPS, USAGE_GROUPS
from gateway.admin.openai_buckets import Bucket, in_order
from gateway.admin.usage_report import Group

SECOND_US: Final = 1_000_000
NANO: Final = 10**9
# The admin key is in no row: what is known of it is that it is there.
ADMIN_KEY_ID: Final = "admin_key"
NOT_KEPT: Final = "(not kept)"
# By our name of a change, OpenAI's. What has none there, as a budget's, is in `/admin/v1/audit` alone.
EVENTS: Final[Mapping[str, str]] = {
    "key.create": "api_key.created",
    "key.update": "api_key.updated",
    "key.rotate": "api_key.updated",
    "key.revoke": "api_key.deleted",
    "team.create": "project.created",
    "team.update": "project.updated",
    "team.delete": "project.archived",
    "user.create": "user.added",
    "user.update": "user.updated",
    "user.delete": "user.deleted",
    "organization.update": "organization.updated",
    "model_limits.set": "rate_limit.updated",
    "model_limits.delete": "rate_limit.deleted",
}


def page_of(buckets: Iterable[Bucket], results: Any, next_page: str | None) -> dict[str, Any]:
    return {
        "object": "page",
        "data": [
            {
                "object": "bucket",
                "start_time": bucket.start_s,
                "end_time": bucket.end_s,
                "results": [results(group, line) for group, line in in_order(bucket.lines)],
            }
            for bucket in buckets
        ],
        "has_more": next_page is not None,
        "next_page": next_page,
    }


def list_of(data: Sequence[Mapping[str, Any]], *, has_more: bool) -> dict[str, Any]:
    ids = [one["id"] for one in data]
    return {
        "object": "list",
        "data": list(data),
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
        "has_more": has_more,
    }


def completions_of(group_by: Sequence[str], group: Group, line: UsageLine) -> dict[str, Any]:
    """Counts that no roll-up keeps, as those of audio, are left out rather than guessed."""
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": line.input_tokens,
        "input_cached_tokens": line.cached_input_tokens,
        "output_tokens": line.output_tokens,
        "num_model_requests": line.requests,
        **dict.fromkeys(USAGE_GROUPS),
        **_cells(group_by, group, USAGE_GROUPS),
    }


def costs_of(group_by: Sequence[str], group: Group, line: UsageLine) -> dict[str, Any]:
    """OpenAI's amounts are numbers; exact ones are in `/admin/v1/usage`."""
    return {
        "object": "organization.costs.result",
        "amount": {"value": line.cost_nano_usd / NANO, "currency": "usd"},
        "quantity": None,
        **dict.fromkeys(COST_GROUPS),
        **_cells(group_by, group, COST_GROUPS),
    }


def _cells(group_by: Sequence[str], group: Group, groups: Mapping[str, str | None]) -> dict[str, Any]:
    ours = iter(group)
    alike: dict[str, Any] = {"batch": False, "service_tier": None, "api_source": "unlabeled"}
    return {name: alike[name] if groups[name] is None else next(ours) for name in group_by}


def project_of(team_id: str, name: str, created_at_us: int) -> dict[str, Any]:
    return {
        "id": team_id,
        "object": "organization.project",
        "name": name,
        "created_at": created_at_us // SECOND_US,
        "archived_at": None,
        "status": "active",
    }


def api_key_of(key: Key, user: User | None, now_us: int) -> dict[str, Any]:
    return {
        "object": "organization.project.api_key",
        "id": key.id,
        "name": key.name,
        "redacted_value": f"{key.prefix or key.id}…",
        "created_at": key.created_at_us // SECOND_US,
        "last_used_at": None,
        "expires_at": None if key.expires_at_us is None else key.expires_at_us // SECOND_US,
        "owner": _owner(key, user),
        "owner_project_access": "inactive" if key.expires_at_us and key.expires_at_us <= now_us else "active",
    }


def _owner(key: Key, user: User | None) -> dict[str, Any]:
    """A key of nobody is a service account of its own."""
    if user is None:
        account = {"object": "organization.project.service_account", "id": key.user_id or key.id, "name": key.name}
        created_at = key.created_at_us // SECOND_US
        return {"type": "service_account", "service_account": {**account, "role": "member", "created_at": created_at}}
    told = {"object": "organization.project.user", "id": user.id, "name": user.name, "email": user.email}
    created_at = user.created_at_us // SECOND_US
    return {"type": "user", "user": {**told, "role": str(user.role), "created_at": created_at}}


def admin_key_of(key: Key | None, user: User | None) -> dict[str, Any]:
    """The gateway's admin key, where no key is given; its secret and its age are kept nowhere."""
    return {
        "object": "organization.admin_api_key",
        "id": ADMIN_KEY_ID if key is None else key.id,
        "name": "the gateway's admin key" if key is None else key.name,
        "redacted_value": NOT_KEPT if key is None else f"{key.prefix or key.id}…",
        "created_at": 0 if key is None else key.created_at_us // SECOND_US,
        "last_used_at": None,
        "expires_at": None if key is None or key.expires_at_us is None else key.expires_at_us // SECOND_US,
        "owner": {
            "type": "user" if user else "service_account",
            "object": "organization.user" if user else "organization.service_account",
            "id": user.id if user else ADMIN_KEY_ID,
            "name": user.name if user else "the gateway's admin key",
            "created_at": user.created_at_us // SECOND_US if user else 0,
            "role": str(user.role) if user else "owner",
        },
    }


def audit_log_of(row: AuditRow, email: str | None) -> dict[str, Any]:
    kind = EVENTS[row.action]
    return {
        "object": "organization.audit_log",
        "id": str(row.id),
        "type": kind,
        "effective_at": row.at_us // SECOND_US,
        "actor": _actor(row, email),
        kind: {"id": row.object_id, **_details(kind, row)},
    }


def _actor(row: AuditRow, email: str | None) -> dict[str, Any]:
    if row.actor.type == "user":
        told = {"type": "user", "user": {"id": row.actor.id, "email": email}}
    else:
        told = {"type": "service_account", "service_account": {"id": row.actor.id or row.actor.type}}
    return {"type": "api_key", "api_key": {"id": row.actor.id or row.actor.type, **told}}


def _details(kind: str, row: AuditRow) -> dict[str, Any]:
    after = dict(row.after or {})
    if kind == "project.created":
        return {"data": {"name": after.get("name"), "title": after.get("name")}}
    if kind == "api_key.created":
        return {"data": {"scopes": after.get("scopes", [])}}
    if kind == "user.added":
        return {"data": {"role": after.get("role")}}
    if kind.endswith(".updated"):
        before = dict(row.before or {})
        changed = {name: value for name, value in after.items() if before.get(name) != value}
        if kind == "project.updated" and "name" in changed:
            changed["title"] = changed["name"]
        return {"changes_requested": changed}
    return {}
