"""What LiteLLM lets a key or a team do, as models, limits and tags of ours. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from billing.scopes import EACH
from gateway.cli.litellm.rows import Row, document, mapping, number, said

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.cli.litellm.notes import Notes

ALL: Final = frozenset({"all-proxy-models", "all-team-models", "*"})
NO_MODEL: Final = "no-default-models"
LIMITS: Final = {
    "rpm_limit": "requests_per_minute",
    "tpm_limit": "tokens_per_minute",
    "max_parallel_requests": "concurrency_max",
}
LIMIT_MAX: Final = 10**9
_TAG: Final = re.compile(r"([^\s,=]{1,100})(?:=([^,]{0,150}))?")
# Of a row's `metadata`, what is read here or says nothing of what may be done.
METADATA_READ: Final = frozenset(
    {
        "tags",
        "model_rpm_limit",
        "model_tpm_limit",
        "service_account_id",
        "team_member_budget_id",
        "soft_budget_alerting_emails",
        "created_via",
    }
)


def models_allowed(models: Iterable[str], groups: Mapping[str, Iterable[str]]) -> list[str]:
    """None means all. A group's name stands for the models in it; `no-default-models` stays, and matches no model."""
    found: list[str] = []
    for name in models:
        if name in ALL:
            return []
        found += groups.get(name, [name])
    return list(dict.fromkeys(found))


def limits_of(subject: str, row: Row, notes: Notes, beside: Row | None = None) -> dict[str, Any]:
    """Its own, where it has none those of the budget beside it; of single models what the metadata says."""
    limits: dict[str, Any] = {}
    for theirs, ours in LIMITS.items():
        found = number(row, theirs)
        found = number(beside or {}, theirs) if found is None else found
        if (limit := _limit(subject, theirs, found, notes)) is not None:
            limits[ours] = limit
    models: dict[str, dict[str, int]] = {}
    metadata = mapping(row, "metadata")
    for theirs, ours in (("model_rpm_limit", "requests_per_minute"), ("model_tpm_limit", "tokens_per_minute")):
        for model in mapping(metadata, theirs):
            limit = _limit(subject, f"{theirs} of {model}", number(mapping(metadata, theirs), model), notes)
            if limit is not None:
                models.setdefault(model, {})[ours] = limit
    if models:
        limits["models"] = models
    if number(row, "tpd_limit") is not None:
        notes.add(subject, f"tpd_limit {row['tpd_limit']}: there are no tokens a day here; give it a budget by the day")
    return limits


def _limit(subject: str, name: str, found: Any, notes: Notes) -> int | None:
    if found is None:
        return None
    if found < 0 or found != int(found) or found > LIMIT_MAX:
        notes.add(subject, f"{name} {found}: a limit is a whole number up to {LIMIT_MAX}; none is set")
        return None
    return int(found)


def tags_of(subject: str, row: Row, notes: Notes) -> dict[str, str]:
    """Texts there, names with values here: `env=prod` is one, and plain `prod` a name with nothing to it."""
    tags: dict[str, str] = {}
    found = document(mapping(row, "metadata"), "tags")
    for tag in found if isinstance(found, list) else []:
        if (parts := tag_parts(str(tag))) is None:
            notes.add(subject, f"tag {tag!r}: a tag has neither spaces in its name nor commas; it is left out")
        elif tags.setdefault(*parts) != parts[1]:
            notes.add(subject, f"tag {tag!r}: the name has the value {tags[parts[0]]!r} already; it is left out")
    return tags


def tag_parts(tag: str) -> tuple[str, str] | None:
    match = _TAG.fullmatch(tag)
    return None if match is None else (match[1], match[2] or "")


def tag_scope(tag: str) -> dict[str, str] | None:
    """Whom a tag's budget counts. One without a value is counted by the budget of each of its name's values, apart from
    the others. None: no request here can carry it.
    """
    parts = tag_parts(tag)
    return None if parts is None else {"type": "tag", "id": f"{parts[0]}={parts[1] or EACH}"}


def unread_metadata(subject: str, row: Row, notes: Notes) -> None:
    rest = sorted(name for name, value in mapping(row, "metadata").items() if name not in METADATA_READ and value)
    if rest:
        notes.add(subject, f"metadata {', '.join(rest)}: is nowhere kept here")


def unread_columns(subject: str, row: Row, columns: Mapping[str, str], notes: Notes) -> None:
    """What a column asks for that nothing here does."""
    for name, why in columns.items():
        if (value := said(row, name)) is not None:
            shown = ", ".join(sorted(value)) if isinstance(value, dict) else value
            notes.add(subject, f"{name} ({shown}): {why}")
