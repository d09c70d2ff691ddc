"""Keys: the row and the ring that the data plane reads, in one call and in this order.

A key that this returned from revoking opens nothing any more, in any worker, from the next request on.
"""

from dataclasses import replace
from typing import Any, Final

from billing import keys as billing_keys
from billing.keys import Key
from billing.roles import Role
from gateway.admin import shown
from gateway.admin.asked import KeyAsked, KeyChange, RotationAsked
from gateway.admin.desks.counter import Counter, not_found, not_yours
from gateway.admin.desks.key_rules import RULES, narrowed, rules_of, rules_shown
from gateway.admin.door import Caller
from gateway.admin.etag import version_seen
from gateway.admin.instant import at_us, instant_text, optional_text
from gateway.admin.paging import seen
from gateway.admin.rules import Reach

FOREIGN_PREFIX_CHARACTERS: Final = 6
# Of one's own key; what it may do is for those to say who answer for its team.
OWN_CHANGES: Final = frozenset({"name"})


class KeyDesk:
    def __init__(self, counter: Counter) -> None:
        self._counter: Final = counter
        self._store: Final = counter.store

    def page(
        self, by: Caller, limit: int, after: str | None, team_id: str | None = None, user_id: str | None = None
    ) -> shown.Keys:
        data, rest = seen(
            lambda rows, behind: self._store.keys(rows, behind, team_id),
            lambda one: self.sees(by, one) and user_id in (None, one.user_id),
            lambda one: one.id,
            limit,
            after,
        )
        return shown.Keys(data=[key_shown(one) for one in data], **rest._asdict())

    def get(self, by: Caller, key_id: str) -> shown.Key:
        return key_shown(self._key(by, key_id))

    def sees(self, by: Caller, key: Key) -> bool:
        return by.sight.key(key.team_id, key.user_id, key.organization_id)

    def create(self, by: Caller, asked: KeyAsked, key: str | None) -> shown.NewKey:
        asked = self._for_whom(by, asked)
        return self._counter.once(by, "keys", key, asked, lambda by: self._create(by, asked), shown.NewKey)

    def update(self, by: Caller, key_id: str, change: KeyChange, if_match: str | None) -> shown.Key:
        changes = change.model_dump(exclude_unset=True)
        with self._counter.lock:
            present = self._key(by, key_id)
            self._demand_may_hold(by, present.user_id)
            if not self._rules_it(by, present) and not changes.keys() <= OWN_CHANGES:
                raise not_yours("Of your own key you may change the name, have it rotated or revoked")
            if "team_id" in changes:
                self._demand_team(by, change.team_id)
            if "user_id" in changes:
                self._demand_user(by, change.user_id)
            if "expires_at" in changes:
                moment = changes.pop("expires_at")
                changes["expires_at_us"] = None if moment is None else at_us(moment)
            version = version_seen(if_match, key_shown(present))
            changed = self._store.update_key(key_id, changes, version, by.actor, self._counter.now())
            self._counter.rooms.keyring.put(changed)
        return key_shown(changed)

    def revoke(self, by: Caller, key_id: str, if_match: str | None) -> shown.Key:
        with self._counter.lock:
            present = self._key(by, key_id)
            self._demand_may_hold(by, present.user_id)
            version = version_seen(if_match, key_shown(present))
            # The ring first: should the database fail now, the key is refused rather than honoured.
            self._counter.rooms.keyring.drop(key_id)
            return key_shown(self._store.revoke_key(key_id, version, by.actor, self._counter.now()))

    def rotate(self, by: Caller, key_id: str, asked: RotationAsked, key: str | None) -> shown.NewKey:
        # Whoever rotates a key has its new secret in hand.
        self._demand_may_hold(by, self._key(by, key_id).user_id)
        return self._counter.once(
            by, "rotations", key, asked, lambda by: self._rotate(by, key_id, asked), shown.NewKey, of=key_id
        )

    def _create(self, by: Caller, asked: KeyAsked) -> shown.NewKey:
        rooms = self._counter.rooms
        issued, made = billing_keys.issue(asked.name, rooms.clock(), rooms.entropy, team_id=asked.team_id)
        secret = asked.key if asked.key or asked.key_sha256 else made
        key = replace(
            issued,
            id=asked.id or issued.id,
            prefix=issued.prefix if secret is made else foreign_prefix(asked.key),
            digest=billing_keys.digest(secret.encode()) if secret else bytes.fromhex(asked.key_sha256 or ""),
            user_id=asked.user_id,
            organization_id=asked.organization_id,
            **self._bounds(by, asked),
        )
        self._store.create_key(key, by.actor, self._counter.now())
        rooms.keyring.put(key)
        return shown.NewKey(**key_shown(key).model_dump(), key=secret)

    def _rotate(self, by: Caller, key_id: str, asked: RotationAsked) -> shown.NewKey:
        rooms = self._counter.rooms
        with self._counter.lock:
            secret = billing_keys.mint(self._counter.new_text(), rooms.entropy(billing_keys.SECRET_BYTES))
            now_us = self._counter.now()
            until_us = now_us + asked.overlap_seconds * 1_000_000
            changed = self._store.rotate_key(key_id, secret, until_us, None, by.actor, now_us)
            rooms.keyring.put(changed)
        return shown.NewKey(**key_shown(changed).model_dump(), key=secret)

    def _key(self, by: Caller, key_id: str) -> Key:
        found = self._store.key(key_id)
        if found is None or not self.sees(by, found):
            raise not_found("key", key_id, "/admin/v1/keys")
        return found

    def _rules_it(self, by: Caller, key: Key) -> bool:
        """Does the caller answer for what the key may do, rather than merely have it?"""
        sight = by.sight
        if sight.whole or sight.of_organization:
            return True
        return key.team_id is not None and sight.teams_of(key.team_id)

    def _for_whom(self, by: Caller, asked: KeyAsked) -> KeyAsked:
        """What a member makes is his own; nobody makes a key that may more than he may."""
        sight = by.sight
        if sight.reach is Reach.OWN:
            if asked.user_id not in (None, sight.user_id):
                raise not_yours("You may make keys of your own")
            if asked.team_id is None and len(sight.team_ids) == 1:
                asked = asked.model_copy(update={"team_id": next(iter(sight.team_ids))})
            asked = asked.model_copy(update={"user_id": sight.user_id})
        if sight.reach in (Reach.OWN, Reach.TEAMS) and asked.team_id is None and sight.team_ids:
            raise not_yours("Name one of your teams as `team_id`: a key without one is charged to no team")
        if sight.organization_id is not None:
            if asked.organization_id not in (None, sight.organization_id):
                raise not_yours("That organization is not yours")
            asked = asked.model_copy(update={"organization_id": sight.organization_id})
        elif asked.organization_id is not None and not sight.whole:
            raise not_yours("You belong to no organization")
        self._demand_team(by, asked.team_id)
        self._demand_user(by, asked.user_id)
        return asked

    def _bounds(self, by: Caller, asked: KeyAsked) -> dict[str, Any]:
        """Whoever comes by a key that is narrowed makes none that is wider."""
        expires_at_us = None if asked.expires_at is None else at_us(asked.expires_at)
        bounds = {"scopes": asked.scopes, "expires_at_us": expires_at_us, **rules_of(asked)}
        own = by.key
        if by.sight.reach is Reach.OWN and own is not None and narrowed(own):
            return {name: getattr(own, name) for name in ("scopes", "expires_at_us", *RULES)}
        return bounds

    def _demand_team(self, by: Caller, team_id: str | None) -> None:
        if team_id is None:
            if by.sight.reach is Reach.TEAMS:
                raise not_yours("Your keys are your teams': name one as `team_id`")
            return
        if not by.sight.team(team_id) or self._store.team(team_id) is None:
            raise not_found("team", team_id, "/admin/v1/teams")

    def _demand_user(self, by: Caller, user_id: str | None) -> None:
        if user_id is None:
            return
        if not by.sight.user(user_id):
            raise not_found("user", user_id, "/admin/v1/users")
        self._demand_may_hold(by, user_id)

    def _demand_may_hold(self, by: Caller, user_id: str | None) -> None:
        """A user's key acts with that user's role: nobody gets one in hand that may more than he."""
        if user_id is None or user_id == by.sight.user_id:
            return
        user = self._store.users.get(user_id)
        if user is None:
            # A name alone, for reports. Should it become an owner's one day, nobody less holds a key of it by then.
            if by.sight.role is not Role.OWNER:
                raise not_found("user", user_id, "/admin/v1/users")
        elif not by.sight.may_act_for(user.role):
            raise not_yours(f"The role `{by.sight.role}` has no hand in keys of a `{user.role}`")


def foreign_prefix(secret: str | None) -> str:
    """Enough of a key from elsewhere to know it again by, too little to use it."""
    return "" if secret is None else secret[:FOREIGN_PREFIX_CHARACTERS]


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
