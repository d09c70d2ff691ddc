"""Where teams and keys are changed: the row and the ring that the data plane reads, in one call and in this order.

A key that this returned from revoking opens nothing any more, in this process, from the next request on.
"""

import base64
from dataclasses import replace
from threading import Lock
from typing import Any, Final

from billing import keys as billing_keys
from billing.audit import Actor
from billing.keys import Key
from billing.store import Team
from gateway.admin import shown
from gateway.admin.asked import KeyAsked, KeyChange, RotationAsked, RulesAsked, TeamAsked, TeamChange
from gateway.admin.etag import version_seen
from gateway.admin.idempotency import Idempotency
from gateway.admin.instant import at_us, instant_text, optional_text
from gateway.admin.problem import Problem
from gateway.admin.rooms import AdminRooms

ID_BYTES: Final = 10  # sixteen letters and digits, none of them padding
FOREIGN_PREFIX_CHARACTERS: Final = 6
TENANCY: Final = frozenset({"tenancy"})
# Whoever passes the door here is the administrator.
ACTOR: Final = Actor("admin_key")
RULES: Final = ("models_allowed", "limits", "tags", "tags_required", "tags_allowed")


class Desk:
    def __init__(self, rooms: AdminRooms) -> None:
        self.rooms: Final = rooms
        self.store: Final = rooms.store
        self.idempotency: Final = Idempotency(rooms.clock)
        # Between reading a row for `if-match` and writing it, nobody else may write.
        self._lock: Final = Lock()

    def teams(self, limit: int, after: str | None) -> shown.Teams:
        page = self.store.teams(limit, after)
        return shown.Teams(data=[team_shown(one) for one in page.data], has_more=page.has_more, next=page.next)

    def team(self, team_id: str) -> shown.Team:
        found = self.store.team(team_id)
        if found is None:
            raise Problem("not_found", f"No team has the id `{team_id[:100]}`; GET /admin/v1/teams lists them.")
        return team_shown(found)

    def create_team(self, asked: TeamAsked, idempotency_key: str | None) -> shown.Team:
        def make() -> shown.Team:
            team_id = asked.id or f"team_{self._new_text()}"
            now_us, rules = self.rooms.clock(), rules_of(asked)
            made = self.store.create_team(team_id, asked.name, asked.organization_id, ACTOR, now_us, rules)
            self.rooms.changed(TENANCY)
            return team_shown(made)

        return self.idempotency.once("teams", idempotency_key, asked.model_dump_json().encode(), make)

    def update_team(self, team_id: str, change: TeamChange, if_match: str | None) -> shown.Team:
        with self._lock:
            version = version_seen(if_match, self.team(team_id))
            changes = change.model_dump(exclude_unset=True)
            changed = self.store.update_team(team_id, changes, version, ACTOR, self.rooms.clock())
            self.rooms.changed(TENANCY)
        return team_shown(changed)

    def delete_team(self, team_id: str, if_match: str | None) -> None:
        with self._lock:
            version = version_seen(if_match, self.team(team_id))
            self.store.delete_team(team_id, version, ACTOR, self.rooms.clock())
            self.rooms.changed(TENANCY)

    def keys(self, limit: int, after: str | None, team_id: str | None) -> shown.Keys:
        page = self.store.keys(limit, after, team_id)
        return shown.Keys(data=[key_shown(one) for one in page.data], has_more=page.has_more, next=page.next)

    def key(self, key_id: str) -> shown.Key:
        return key_shown(self._key(key_id))

    def create_key(self, asked: KeyAsked, idempotency_key: str | None) -> shown.NewKey:
        if asked.team_id is not None:
            self.team(asked.team_id)
        body = asked.model_dump_json().encode()
        return self.idempotency.once("keys", idempotency_key, body, lambda: self._create_key(asked))

    def update_key(self, key_id: str, change: KeyChange, if_match: str | None) -> shown.Key:
        changes = change.model_dump(exclude_unset=True)
        if change.team_id is not None:
            self.team(change.team_id)
        if "expires_at" in changes:
            moment = changes.pop("expires_at")
            changes["expires_at_us"] = None if moment is None else at_us(moment)
        with self._lock:
            version = version_seen(if_match, self.key(key_id))
            changed = self.store.update_key(key_id, changes, version, ACTOR, self.rooms.clock())
            self.rooms.keyring.put(changed)
        return key_shown(changed)

    def revoke_key(self, key_id: str, if_match: str | None) -> shown.Key:
        with self._lock:
            version = version_seen(if_match, self.key(key_id))
            # The ring first: should the database fail now, the key is refused rather than honoured.
            self.rooms.keyring.drop(key_id)
            return key_shown(self.store.revoke_key(key_id, version, ACTOR, self.rooms.clock()))

    def rotate_key(self, key_id: str, asked: RotationAsked, idempotency_key: str | None) -> shown.NewKey:
        body = f"{key_id} {asked.model_dump_json()}".encode()
        return self.idempotency.once("rotations", idempotency_key, body, lambda: self._rotate_key(key_id, asked))

    def _create_key(self, asked: KeyAsked) -> shown.NewKey:
        issued, made = billing_keys.issue(asked.name, self.rooms.clock(), self.rooms.entropy, team_id=asked.team_id)
        secret = asked.key if asked.key or asked.key_sha256 else made
        key = replace(
            issued,
            id=asked.id or issued.id,
            prefix=issued.prefix if secret is made else foreign_prefix(asked.key),
            digest=billing_keys.digest(secret.encode()) if secret else bytes.fromhex(asked.key_sha256 or ""),
            user_id=asked.user_id,
            organization_id=asked.organization_id,
            scopes=asked.scopes,
            expires_at_us=None if asked.expires_at is None else at_us(asked.expires_at),
            **rules_of(asked),
        )
        with self._lock:
            self.store.create_key(key, ACTOR, key.created_at_us)
            self.rooms.keyring.put(key)
        return shown.NewKey(**key_shown(key).model_dump(), key=secret)

    def _rotate_key(self, key_id: str, asked: RotationAsked) -> shown.NewKey:
        with self._lock:
            secret = billing_keys.mint(self._new_text(), self.rooms.entropy(billing_keys.SECRET_BYTES))
            now_us = self.rooms.clock()
            old_until_us = now_us + asked.overlap_seconds * 1_000_000
            changed = self.store.rotate_key(key_id, secret, old_until_us, None, ACTOR, now_us)
            self.rooms.keyring.put(changed)
        return shown.NewKey(**key_shown(changed).model_dump(), key=secret)

    def _new_text(self) -> str:
        return base64.b32hexencode(self.rooms.entropy(ID_BYTES)).decode().lower()

    def _key(self, key_id: str) -> Key:
        found = self.store.key(key_id)
        if found is None:
            raise Problem("not_found", f"No key has the id `{key_id[:100]}`; GET /admin/v1/keys lists them.")
        return found


def foreign_prefix(secret: str | None) -> str:
    """Enough of a key from elsewhere to know it again by, too little to use it."""
    return "" if secret is None else secret[:FOREIGN_PREFIX_CHARACTERS]


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


def team_shown(team: Team) -> shown.Team:
    return shown.Team(
        id=team.id,
        name=team.name,
        organization_id=team.organization_id,
        **rules_shown(team),
        created_at=instant_text(team.created_at_us),
        version=team.version,
    )


def key_shown(key: Key) -> shown.Key:
    return shown.Key(
        id=key.id,
        name=key.name,
        prefix=key.prefix,
        team_id=key.team_id,
        user_id=key.user_id,
        organization_id=key.organization_id,
        scopes=list(key.scopes),
        **rules_shown(key),
        created_at=instant_text(key.created_at_us),
        expires_at=optional_text(key.expires_at_us),
        revoked_at=optional_text(key.revoked_at_us),
        version=key.version,
    )
