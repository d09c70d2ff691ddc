"""The exact cache never outgrows its bounds, never serves the old or another's, and forgets the unused first."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cache.exact import ENTRY_OVERHEAD_BYTES, ENTRY_SHARE_MAX, US_PER_S, CacheStats, ExactCache, Kept

NOW = 1_764_000_000 * US_PER_S
ROOM = 1_000_000


def kept(body: bytes = b"{}") -> Kept:
    return Kept(b"application/json", body, "m", "p", 12, (1, 0, 0, 2))


def name(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_what_was_put_comes_back_until_it_is_too_old() -> None:
    cache = ExactCache(10, ROOM)
    assert cache.put(name(1), kept(), NOW, 2.5)
    assert cache.get(name(1), NOW + 2_499_999) == kept()
    assert cache.get(name(1), NOW + 2_500_000) is None
    assert cache.stats() == CacheStats(hits=1, misses=1, entries=0, bytes=0)


def test_the_least_recently_used_goes_first() -> None:
    cache = ExactCache(2, ROOM)
    cache.put(name(1), kept(b"1"), NOW, 60)
    cache.put(name(2), kept(b"2"), NOW, 60)
    cache.get(name(1), NOW)
    cache.put(name(3), kept(b"3"), NOW, 60)
    assert cache.get(name(2), NOW) is None
    assert cache.get(name(1), NOW) == kept(b"1")
    assert cache.get(name(3), NOW) == kept(b"3")


def test_a_newer_answer_takes_the_place_of_the_older() -> None:
    cache = ExactCache(10, ROOM)
    cache.put(name(1), kept(b"long" * 100), NOW, 60)
    cache.put(name(1), kept(b"new"), NOW + 1, 60)
    assert cache.get(name(1), NOW + 60 * US_PER_S) == kept(b"new")
    assert cache.stats().bytes == len(b"new") + len(b"application/json") + ENTRY_OVERHEAD_BYTES


def test_an_answer_too_large_for_its_share_is_not_kept_and_the_older_one_is_gone() -> None:
    """A refresh must not leave the answer in place that it was to replace."""
    cache = ExactCache(10, ENTRY_SHARE_MAX * 2000)
    cache.put(name(1), kept(), NOW, 60)
    assert not cache.put(name(1), kept(bytes(2000)), NOW, 60)
    assert cache.get(name(1), NOW) is None


def test_clearing_forgets_everything() -> None:
    cache = ExactCache(10, ROOM)
    cache.put(name(1), kept(), NOW, 60)
    assert cache.clear() == 1
    assert cache.stats().bytes == 0
    assert cache.get(name(1), NOW) is None


@pytest.mark.parametrize(("entries_max", "bytes_max"), [(0, 1), (1, 0)])
def test_a_cache_without_room_is_refused_with_advice(entries_max: int, bytes_max: int) -> None:
    with pytest.raises(ValueError, match=r"cache\.exact\.enabled: false"):
        ExactCache(entries_max, bytes_max)


class AnyUse(RuleBasedStateMachine):
    """Against a plain dict that remembers everything: bounded always, wrong never."""

    ENTRIES_MAX = 4
    BYTES_MAX = 12_000

    def __init__(self) -> None:
        super().__init__()
        self.cache = ExactCache(self.ENTRIES_MAX, self.BYTES_MAX)
        self.model: dict[bytes, tuple[Kept, int]] = {}
        self.now = NOW

    @rule(number=st.integers(0, 7), size=st.integers(0, 2000), ttl_s=st.integers(0, 20))
    def put(self, number: int, size: int, ttl_s: int) -> None:
        answer = kept(bytes([number]) * size)
        fits = self.cache.put(name(number), answer, self.now, ttl_s)
        self.model.pop(name(number), None)
        if fits:
            self.model[name(number)] = (answer, self.now + ttl_s * US_PER_S)

    @rule(number=st.integers(0, 7))
    def get(self, number: int) -> None:
        found = self.cache.get(name(number), self.now)
        answer, expires = self.model.get(name(number), (None, 0))
        assert found is None or (found == answer and self.now < expires)

    @rule(number=st.integers(0, 7))
    def what_was_just_put_is_there(self, number: int) -> None:
        self.put(number, 10, 5)
        assert self.cache.get(name(number), self.now) is not None

    @rule(seconds=st.integers(0, 10))
    def wait(self, seconds: int) -> None:
        self.now += seconds * US_PER_S

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        self.model.clear()

    @invariant()
    def it_stays_within_its_bounds(self) -> None:
        stats = self.cache.stats()
        assert stats.entries <= self.ENTRIES_MAX
        assert 0 <= stats.bytes <= self.BYTES_MAX
        assert (stats.bytes == 0) == (stats.entries == 0)


TestAnyUse = AnyUse.TestCase
