"""What a key and a team say of each request alike, between what is sent, kept and shown. Pure."""

from typing import Any, Final

from billing.keys import Key
from billing.store import Team
from gateway.admin.asked import RulesAsked

RULES: Final = ("models_allowed", "limits", "tags", "tags_required", "tags_allowed")


def rules_of(asked: RulesAsked) -> dict[str, Any]:
    """What it says of each request, as the store takes it."""
    return asked.model_dump(include=set(RULES))


def rules_shown(one: Team | Key) -> dict[str, Any]:
    return {
        "models_allowed": list(one.models_allowed),
        "limits": dict(one.limits),
        "tags": dict(one.tags),
        "tags_required": list(one.tags_required),
        "tags_allowed": {name: list(values) for name, values in one.tags_allowed.items()},
    }


def narrowed(key: Key) -> bool:
    """Does the key itself allow less than its team?"""
    return bool(key.scopes or key.expires_at_us or any(getattr(key, name) for name in RULES))
