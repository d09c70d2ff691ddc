"""Virtual keys: how one is made, recognised and limited. The secret itself is never kept, only its SHA-256."""

import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from typing import Final

SECRET_BYTES: Final = 32  # 256 random bits
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_CHARS: Final = 43  # 62**43 > 2**256
_PUBLIC_ID_BYTES: Final = 9
_PUBLIC_ID_CHARS: Final = 13  # 62**13 > 2**72
_CHECK_CHARS: Final = 6  # 62**6 > 2**32
_OURS: Final = re.compile(rb"tp-[0-9A-Za-z]{1,40}-[0-9A-Za-z]{43}([0-9A-Za-z]{6})")
_PUBLIC_ID: Final = re.compile(r"[0-9A-Za-z]{1,40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Key:
    """What is kept of a key. While a rotation overlaps, the secret before stays good until `old_until_us`."""

    id: str
    name: str
    prefix: str
    digest: bytes
    team_id: str | None
    user_id: str | None
    models_allowed: tuple[str, ...]  # none means all
    created_at_us: int
    expires_at_us: int | None = None
    revoked_at_us: int | None = None
    scopes: tuple[str, ...] = ()
    limits: Mapping[str, object] = field(default_factory=dict)  # `billing.limits` reads it
    organization_id: str | None = None
    old_digest: bytes | None = None
    old_until_us: int | None = None
    version: int = 1
    tags: Mapping[str, str] = field(default_factory=dict)  # every request of the key has these
    tags_required: tuple[str, ...] = ()
    tags_allowed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by name; a name not in it takes any
    # Not the key's own: `billing.tenancy` brings it along, and a model must be in both lists.
    team_models_allowed: tuple[str, ...] = ()


def mint(public_id: str, secret: bytes) -> str:
    if _PUBLIC_ID.fullmatch(public_id) is None:
        raise ValueError(f"public id {public_id!r}: use 1 to 40 letters and digits")
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a secret has {SECRET_BYTES} bytes, this one {len(secret)}: draw exactly that many")
    body = f"{shown_prefix(public_id)}-{_base62(int.from_bytes(secret), _SECRET_CHARS)}"
    return body + _checksum(body.encode())


def issue(name: str, now_at_us: int, entropy: Callable[[int], bytes], *, team_id: str | None = None) -> tuple[Key, str]:
    """A new key and its secret, which is in nobody's hands but the caller's from here on."""
    public_id = _base62(int.from_bytes(entropy(_PUBLIC_ID_BYTES)), _PUBLIC_ID_CHARS)
    secret = mint(public_id, entropy(SECRET_BYTES))
    prefix = shown_prefix(public_id)
    return Key(f"key_{public_id}", name, prefix, digest(secret.encode()), team_id, None, (), now_at_us), secret


def shown_prefix(public_id: str) -> str:
    """What lists and logs show of a key."""
    return f"tp-{public_id}"


def digest(token: bytes) -> bytes:
    return sha256(token).digest()


def well_formed(token: bytes) -> bool:
    """A mistyped key of ours is recognised before anything is looked up; a key from elsewhere is never well formed."""
    match = _OURS.fullmatch(token)
    return match is not None and match[1] == _checksum(token[:-_CHECK_CHARS]).encode()


def may_use(key: Key, *names: str) -> bool:
    """Whether the key may use a model that goes by these names; its own list and its team's must each have one."""
    return all(
        not globs or any(_matches(globs, name) for name in names)
        for globs in (key.models_allowed, key.team_models_allowed)
    )


def may_use_all(key: Key) -> bool:
    return not (key.models_allowed or key.team_models_allowed)


def name_matches(pattern: str, name: str) -> bool:
    return _pattern(pattern).fullmatch(name) is not None


class KeyRing:
    """All keys in memory. Looking a digest up tells an attacker's clock nothing about the secret behind it."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._by_digest: dict[bytes, Key] = {}
        self._digests: dict[str, tuple[bytes, ...]] = {}
        for key in keys:
            self.put(key)

    def find(self, token_digest: bytes, now_at_us: int) -> Key | None:
        """None: unknown, expired or revoked."""
        key = self._by_digest.get(token_digest)
        if key is None or key.revoked_at_us is not None:
            return None
        if key.expires_at_us is not None and key.expires_at_us <= now_at_us:
            return None
        return key

    def put(self, key: Key) -> None:
        """Adds a key or replaces what was known of it; effective for the next look-up."""
        known = {key.digest: key}
        if key.old_digest is not None and key.old_until_us is not None:
            until_us = min(key.old_until_us, key.expires_at_us or key.old_until_us)
            known[key.old_digest] = replace(key, expires_at_us=until_us)
        # First in, then out: the worker that looks up meanwhile must never miss a good key.
        self._by_digest.update(known)
        for gone in set(self._digests.get(key.id, ())) - set(known):
            self._by_digest.pop(gone, None)
        self._digests[key.id] = tuple(known)

    def drop(self, key_id: str) -> None:
        for gone in self._digests.pop(key_id, ()):
            self._by_digest.pop(gone, None)

    def versions(self) -> dict[str, int]:
        """Of every key in it, by its id."""
        # A copy first: another thread may put keys in meanwhile.
        held = {key_id: self._by_digest.get(digests[0]) for key_id, digests in tuple(self._digests.items())}
        return {key_id: key.version for key_id, key in held.items() if key is not None}

    def __len__(self) -> int:
        return len(self._digests)


@lru_cache(maxsize=4096)
def _matches(globs: tuple[str, ...], model: str) -> bool:
    return any(_pattern(glob).fullmatch(model) for glob in globs)


@lru_cache(maxsize=1024)
def _pattern(glob: str) -> re.Pattern[str]:
    # `*` alone is special: model names may hold brackets and question marks, so fnmatch would surprise.
    return re.compile(".*".join(map(re.escape, glob.split("*"))), re.DOTALL)


def _checksum(body: bytes) -> str:
    return _base62(zlib.crc32(body), _CHECK_CHARS)


def _base62(number: int, chars: int) -> str:
    text = ""
    for _ in range(chars):
        number, digit = divmod(number, 62)
        text = _ALPHABET[digit] + text
    return text
