"""Ids as they come over: LiteLLM's own where Turnpike can have them, else made of them, at every run the same. Pure."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

from gateway.cli.apply.same import slug

ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}", re.ASCII)
DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
NAME_CHARS_MAX: Final = 200
SHOWN_OF_TOKEN: Final = 16


def our_id(theirs: str) -> str:
    if ID.fullmatch(theirs):
        return theirs
    return f"{slug(theirs)[:80]}-{sha256(theirs.encode()).hexdigest()[:10]}"


def digest_of(token: str) -> str | None:
    """LiteLLM keeps the SHA-256 of a key's whole text, in hex; long ago it kept the text itself."""
    if DIGEST.fullmatch(token):
        return token.lower()
    return sha256(token.encode()).hexdigest() if token.startswith("sk-") else None


def key_id(digest: str) -> str:
    return f"key_{digest[:SHOWN_OF_TOKEN]}"


def name_of(*candidates: str | None) -> str:
    """The first that says something, on one line and not too long."""
    for candidate in candidates:
        if candidate and (name := " ".join(candidate.split())):
            return name[:NAME_CHARS_MAX]
    return "-"
