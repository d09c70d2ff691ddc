"""Answers kept in this process under their fingerprints, bounded in number, bytes and age.

The least recently used goes first. Nothing here may not be lost.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, NamedTuple

US_PER_S: Final = 1_000_000
# What an entry costs beside the bytes that it carries: key, objects and the table's slot (measured on CPython 3.11).
ENTRY_OVERHEAD_BYTES: Final = 700
# One answer may not push out more than this share of all others.
ENTRY_SHARE_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer exactly as it left, who gave it, and what it had cost."""

    content_type: bytes
    body: bytes
    model: str
    provider: str
    cost_nano_usd: int
    usage: tuple[int, ...]


class CacheStats(NamedTuple):
    hits: int
    misses: int
    entries: int
    bytes: int


class _Entry(NamedTuple):
    kept: Kept
    expires_at_us: int
    size_bytes: int


class ExactCache:
    def __init__(self, entries_max: int, bytes_max: int) -> None:
        if entries_max < 1 or bytes_max < 1:
            raise ValueError(
                "an exact cache needs room: raise entries_max and bytes_max, or set cache.exact.enabled: false"
            )
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._hits = 0
        self._misses = 0

    def get(self, fingerprint: bytes, now_at_us: int) -> Kept | None:
        """The answer kept under this fingerprint, unless it is too old."""
        entry = self._entries.get(fingerprint)
        if entry is None:
            self._misses += 1
            return None
        if now_at_us >= entry.expires_at_us:
            self._drop(fingerprint)
            self._misses += 1
            return None
        self._entries.move_to_end(fingerprint)
        self._hits += 1
        return entry.kept

    def put(self, fingerprint: bytes, kept: Kept, now_at_us: int, ttl_s: float) -> bool:
        """Keep an answer in place of the one before; False if it is too large to be worth its room."""
        size_bytes = len(kept.body) + len(kept.content_type) + ENTRY_OVERHEAD_BYTES
        if fingerprint in self._entries:
            self._drop(fingerprint)
        if size_bytes * ENTRY_SHARE_MAX > self._bytes_max:
            return False
        self._entries[fingerprint] = _Entry(kept, now_at_us + int(ttl_s * US_PER_S), size_bytes)
        self._bytes += size_bytes
        while self._bytes > self._bytes_max or len(self._entries) > self._entries_max:
            self._drop(next(iter(self._entries)))
        return True

    def clear(self) -> int:
        """Forget everything; how many entries that were."""
        entries = len(self._entries)
        self._entries.clear()
        self._bytes = 0
        return entries

    def stats(self) -> CacheStats:
        return CacheStats(self._hits, self._misses, len(self._entries), self._bytes)

    def _drop(self, fingerprint: bytes) -> None:
        self._bytes -= self._entries.pop(fingerprint).size_bytes
